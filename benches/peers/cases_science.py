"""Metrics, filters and reading with scikit-learn, scipy and nibabel.

These libraries use one thread; where their work falls into independent parts and they let other
threads run meanwhile, the variant `threads` gives the parts to a pool of two.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy

THREADS = 2


class Case:
    variants = ["default", "threads"]

    def __init__(self, store):
        self.store = store

    def mapper(self, variant):
        return map if variant == "default" else ThreadPoolExecutor(THREADS).map

    def outputs(self):
        result = self.prepare("default")()
        return {name: numpy.asarray(value) for name, value in self.summary(result).items()}


class Ranking(Case):
    """AUROC and average precision of 10^7 pixels."""

    def prepare(self, variant):
        from sklearn.metrics import average_precision_score, roc_auc_score

        data = self.store.read("ranking")
        truth, scores = data["truth"], data["scores"]
        run = self.mapper(variant)
        metrics = [roc_auc_score, average_precision_score]
        return lambda: list(run(lambda metric: metric(truth, scores), metrics))

    def summary(self, result):
        return {"auroc": result[0], "average_precision": result[1]}


class Aupro(Case):
    """Area under the per-region overlap curve up to a false positive rate of 0.3: each pixel of a
    region counts one over the region's size, over all distinct thresholds."""

    LIMIT = 0.3

    def prepare(self, variant):
        from scipy import ndimage

        data = self.store.read("regions")
        truth, scores = data["truth"], data["scores"]
        run = self.mapper(variant)

        def weights(mask):
            labels, count = ndimage.label(mask, numpy.ones((3, 3)))
            sizes = numpy.bincount(labels.ravel(), minlength=count + 1)
            weight = 1.0 / sizes
            weight[0] = 0.0
            return weight[labels], count

        def aupro():
            parts = list(run(weights, truth))
            weight = numpy.concatenate([part.ravel() for part, _ in parts])
            normal = weight == 0.0
            order = numpy.argsort(-scores.ravel(), kind="stable")
            ranked = scores.ravel()[order]
            last = numpy.append(numpy.flatnonzero(ranked[1:] != ranked[:-1]), ranked.size - 1)
            overlap = numpy.cumsum(weight[order])[last] / sum(count for _, count in parts)
            false_positives = numpy.cumsum(normal[order])[last] / normal.sum()
            x = numpy.insert(false_positives, 0, 0.0)
            y = numpy.insert(overlap, 0, 0.0)
            inside = x <= self.LIMIT
            x, y = numpy.append(x[inside], self.LIMIT), numpy.append(y[inside], numpy.interp(self.LIMIT, x, y))
            return numpy.trapezoid(y, x) / self.LIMIT

        return aupro

    def summary(self, result):
        return {"aupro": result}


class Median2d(Case):
    """A 5x5 median of every slice of a volume."""

    def prepare(self, variant):
        from scipy import ndimage

        slices = self.store.read("volume")["slices"]
        run = self.mapper(variant)
        return lambda: list(run(lambda plane: ndimage.median_filter(plane, size=5), slices))

    def summary(self, result):
        return {"median": numpy.stack(result)}


class Median3d(Case):
    """A 5x5x5 median of a volume."""

    def prepare(self, variant):
        from scipy import ndimage

        volume = self.store.read("volume")["volume"]
        if variant == "default":
            return lambda: ndimage.median_filter(volume, size=5)
        # Each part of the first axis with the two planes that the windows reach beyond it.
        cuts = numpy.linspace(0, len(volume), THREADS + 1).astype(int)
        parts = [(max(start - 2, 0), start, end) for start, end in zip(cuts, cuts[1:])]
        run = self.mapper(variant)

        def part(bounds):
            first, start, end = bounds
            filtered = ndimage.median_filter(volume[first : end + 2], size=5)
            return filtered[start - first : end - first]

        return lambda: numpy.concatenate(list(run(part, parts)))

    def summary(self, result):
        return {"median": result}


class Components(Case):
    """Connected components of a volume's mask, neighbours by face, edge or corner."""

    variants = ["default"]

    def prepare(self, variant):
        from scipy import ndimage

        mask = self.store.read("mask")["mask"].astype(bool)
        structure = numpy.ones((3, 3, 3))
        return lambda: ndimage.label(mask, structure)

    def summary(self, result):
        labels, count = result
        # Which number a component has is each library's own business: sizes in ascending order.
        return {"sizes": numpy.sort(numpy.bincount(labels.ravel())[1:]), "count": count}


class ReadNifti(Case):
    """A compressed volume of 256x256x256 16-bit integers, read to 32-bit floats."""

    variants = ["default", "array-proxy"]

    def prepare(self, variant):
        import nibabel

        path = self.store.path("volume.nii.gz")
        if variant == "default":
            return lambda: nibabel.load(path).get_fdata(dtype=numpy.float32)
        return lambda: numpy.asarray(nibabel.load(path).dataobj, dtype=numpy.float32)

    def summary(self, result):
        return {"voxels": numpy.ascontiguousarray(result)}


def start(threads, _device):
    global THREADS
    THREADS = threads


CASES = {
    "metric-auroc-ap": Ranking,
    "metric-aupro": Aupro,
    "filter-median-2d": Median2d,
    "filter-median-3d": Median3d,
    "filter-components": Components,
    "read-nifti-gz": ReadNifti,
}
