//! Group normalization.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use lesio_kernels::{Border, Combine, Moments, NormalizationSettings, Statistics};

use super::tensors::{Held, Size, pass, values, with_values};

pub(super) struct Normalize(pub(super) NormalizationSettings);

impl CustomOp3 for Normalize {
    fn name(&self) -> &'static str {
        "lesio-group-normalization"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let size = Size::of(l1.shape())?;
        let (image, scale, shift) = (values(s1, l1)?, values(s2, l2)?, values(s3, l3)?);
        let layout = size.layout(Border::NONE)?;
        let samples = size.samples;
        if scale.len() != size.channels || shift.len() != size.channels {
            candle_core::bail!(
                "a scale of {} and a shift of {} values for {} channels",
                scale.len(),
                shift.len(),
                size.channels
            )
        }
        let planes = pass(|workers| {
            let from = Held::read(workers, samples, layout, image)?;
            let mut to = Held::zeros(samples, layout)?;
            let mut moments = Moments::new(samples, &layout);
            self.0.measure(workers, samples, from.from(), &mut moments)?;
            self.0.apply(workers, samples, from.from(), &mut moments, scale, shift, to.to(), 1.0)?;
            to.planes(workers)
        })?;
        Ok((CpuStorage::F32(planes), size.shape()))
    }

    fn bwd(
        &self,
        image: &Tensor,
        scale: &Tensor,
        shift: &Tensor,
        _res: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let size = Size::of(image.shape())?;
        let (samples, channels) = (size.samples, size.channels);
        let layout = size.layout(Border::NONE)?;
        let by_parameters = scale.track_op() || shift.track_op();
        let by_image = image.track_op();
        let mut parameters = (vec![0.0; channels], vec![0.0; channels]);
        let planes = with_values([image, scale, gradient], |[image, scale, gradient]| {
            pass(|workers| {
                let input = Held::read(workers, samples, layout, image)?;
                let from = Held::read(workers, samples, layout, gradient)?;
                let mut to = if by_image { Some(Held::zeros(samples, layout)?) } else { None };
                let mut moments = Moments::new(samples, &layout);
                self.0.measure(workers, samples, input.from(), &mut moments)?;
                self.0.gradient(
                    workers,
                    samples,
                    input.from(),
                    &mut moments,
                    Statistics::Measured,
                    scale,
                    from.from(),
                    by_parameters.then_some((&mut parameters.0[..], &mut parameters.1[..])),
                    to.as_mut().map(|to| (to.to(), Combine::Replace, None)),
                )?;
                to.map(|to| to.planes(workers)).transpose()
            })
        })?;
        let device = image.device();
        let by_image = planes.map(|planes| Tensor::from_vec(planes, image.shape(), device)).transpose()?;
        let tensor = |parameter: &Tensor, values: Vec<f32>| {
            parameter.track_op().then(|| Tensor::from_vec(values, parameter.shape(), device)).transpose()
        };
        Ok((by_image, tensor(scale, parameters.0)?, tensor(shift, parameters.1)?))
    }
}
