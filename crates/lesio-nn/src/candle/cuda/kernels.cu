// Layers of f32 images [n, channels, rows, columns], row-major.
//
// Every kernel takes its output, its inputs, then unsigned numbers, then floats, as `launch.rs` hands them over. Each
// value is computed by one thread or one block in a fixed order, without atomic operations: the same input gives the
// same bytes.

#define EACH(i, count) \
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < (count); i += gridDim.x * blockDim.x)

// Columns of a convolution: for each channel and tap a row, for each place of the window a column. Rows lie `row` apart
// and samples `sample`. A thread writes all taps of one channel at one place.
extern "C" __global__ void unfold(float *out, const float *image, unsigned count, unsigned channels, unsigned h,
                                  unsigned w, unsigned kernel, unsigned stride, unsigned padding, unsigned oh,
                                  unsigned ow, unsigned row, unsigned sample) {
    EACH(i, count) {
        unsigned x = i % ow, rest = i / ow;
        unsigned y = rest % oh, plane = rest / oh;
        unsigned c = plane % channels, n = plane / channels;
        const float *from = image + (size_t)plane * h * w;
        float *to = out + (size_t)c * kernel * kernel * row + (size_t)n * sample + y * ow + x;
        int top = (int)(y * stride) - (int)padding, left = (int)(x * stride) - (int)padding;
        for (unsigned tap_y = 0; tap_y < kernel; tap_y++) {
            int from_y = top + (int)tap_y;
            bool inside_y = from_y >= 0 && from_y < (int)h;
            for (unsigned tap_x = 0; tap_x < kernel; tap_x++, to += row) {
                int from_x = left + (int)tap_x;
                bool inside = inside_y && from_x >= 0 && from_x < (int)w;
                *to = inside ? from[from_y * (int)w + from_x] : 0.0f;
            }
        }
    }
}

// The adjoint of `unfold`: each pixel is the sum of the values that were taken from it.
extern "C" __global__ void fold(float *out, const float *columns, unsigned count, unsigned channels, unsigned h,
                                unsigned w, unsigned kernel, unsigned stride, unsigned padding, unsigned oh, unsigned ow,
                                unsigned row, unsigned sample) {
    EACH(i, count) {
        unsigned x = i % w, rest = i / w;
        unsigned y = rest % h, plane = rest / h;
        unsigned c = plane % channels, n = plane / channels;
        // The last place whose window reaches the pixel, and its tap there; each place before has a later tap.
        unsigned last_y = (y + padding) / stride, last_x = (x + padding) / stride;
        unsigned first_y = y + padding - last_y * stride, first_x = x + padding - last_x * stride;
        const float *from = columns + (size_t)c * kernel * kernel * row + (size_t)n * sample;
        float sum = 0.0f;
        for (unsigned tap_y = first_y, back_y = 0; tap_y < kernel && back_y <= last_y; tap_y += stride, back_y++) {
            unsigned at_y = last_y - back_y;
            if (at_y >= oh) continue;
            for (unsigned tap_x = first_x, back_x = 0; tap_x < kernel && back_x <= last_x; tap_x += stride, back_x++) {
                unsigned at_x = last_x - back_x;
                if (at_x >= ow) continue;
                sum += from[(size_t)(tap_y * kernel + tap_x) * row + at_y * ow + at_x];
            }
        }
        out[i] = sum;
    }
}

// A convolution of stride 1 without columns, for the few output channels with which a product of matrices leaves most of
// a card idle. A block computes 16 channels at 256 pixels, a thread those of two. `flipped` takes the weights as its
// adjoint does: `[in, outs, ...]`, the taps in reverse. KERNEL is the kernel's size, or 0 where it is not known before.
template <unsigned KERNEL>
static __device__ void direct_convolution(float *out, const float *image, const float *weight, unsigned count, unsigned in,
                                          unsigned h, unsigned w, unsigned outs, unsigned size, unsigned padding,
                                          unsigned oh, unsigned ow, unsigned flipped) {
    __shared__ __align__(16) float held[2304];
    const unsigned kernel = KERNEL ? KERNEL : size, taps = kernel * kernel, part = 2304 / (16 * taps);
    unsigned groups = (outs + 15) / 16, first = blockIdx.x % groups * 16;
    int top[2], left[2];
    const float *from[2];
    unsigned pixel[2];
    for (unsigned k = 0; k < 2; k++) {
        pixel[k] = blockIdx.x / groups * 256 + k * 128 + threadIdx.x;
        unsigned x = pixel[k] % ow, y = pixel[k] / ow % oh, n = pixel[k] / ow / oh;
        // A pixel past the last has no neighbors.
        top[k] = pixel[k] < count ? (int)y - (int)padding : -(1 << 20);
        left[k] = (int)x - (int)padding;
        from[k] = image + (size_t)n * in * h * w;
    }
    float sums[2][16] = {};
    for (unsigned start = 0; start < in; start += part) {
        unsigned channels = min(part, in - start);
        __syncthreads();
        for (unsigned i = threadIdx.x; i < channels * taps * 16; i += blockDim.x) {
            unsigned o = first + i % 16, tap = i / 16 % taps, c = start + i / 16 / taps;
            size_t at = flipped ? (size_t)(c * outs + o) * taps + taps - 1 - tap : (size_t)(o * in + c) * taps + tap;
            held[i] = o < outs ? weight[at] : 0.0f;
        }
        __syncthreads();
        for (unsigned c = 0; c < channels; c++) {
#pragma unroll
            for (unsigned tap_y = 0; tap_y < kernel; tap_y++)
#pragma unroll
                for (unsigned tap_x = 0; tap_x < kernel; tap_x++) {
                    const float4 *row = (const float4 *)(held + ((c * kernel + tap_y) * kernel + tap_x) * 16);
                    float4 weights[4] = {row[0], row[1], row[2], row[3]};
#pragma unroll
                    for (unsigned k = 0; k < 2; k++) {
                        int y = top[k] + (int)tap_y, x = left[k] + (int)tap_x;
                        bool inside = y >= 0 && y < (int)h && x >= 0 && x < (int)w;
                        float value = inside ? from[k][((size_t)(start + c) * h + y) * w + x] : 0.0f;
#pragma unroll
                        for (unsigned o = 0; o < 4; o++) {
                            sums[k][4 * o] += value * weights[o].x;
                            sums[k][4 * o + 1] += value * weights[o].y;
                            sums[k][4 * o + 2] += value * weights[o].z;
                            sums[k][4 * o + 3] += value * weights[o].w;
                        }
                    }
                }
        }
    }
#pragma unroll
    for (unsigned k = 0; k < 2; k++) {
        if (pixel[k] >= count) continue;
        size_t at = (size_t)(pixel[k] / (ow * oh)) * outs * oh * ow + pixel[k] % (ow * oh);
#pragma unroll
        for (unsigned o = 0; o < 16; o++)
            if (first + o < outs) out[at + (size_t)(first + o) * oh * ow] = sums[k][o];
    }
}

#define DIRECT(NAME, KERNEL)                                                                                             \
    extern "C" __global__ void __launch_bounds__(128)                                                                    \
        NAME(float *out, const float *image, const float *weight, unsigned count, unsigned in, unsigned h, unsigned w,    \
             unsigned outs, unsigned size, unsigned padding, unsigned oh, unsigned ow, unsigned flipped) {                \
        direct_convolution<KERNEL>(out, image, weight, count, in, h, w, outs, size, padding, oh, ow, flipped);            \
    }
DIRECT(direct, 0)
DIRECT(direct3, 3)

// Samples and channels exchanged: [n, channels, pixels] to [channels, n, pixels].
extern "C" __global__ void by_channel(float *out, const float *image, unsigned count, unsigned n, unsigned channels,
                                      unsigned pixels) {
    EACH(i, count) {
        unsigned p = i % pixels, sample = i / pixels % n, c = i / pixels / n;
        out[i] = image[(size_t)(sample * channels + c) * pixels + p];
    }
}

// Some channels of each sample, from one on.
extern "C" __global__ void some_channels(float *out, const float *image, unsigned count, unsigned from, unsigned some,
                                         unsigned channels, unsigned pixels) {
    EACH(i, count) {
        unsigned p = i % pixels, c = i / pixels % some, sample = i / pixels / some;
        out[i] = image[(size_t)(sample * channels + from + c) * pixels + p];
    }
}

// Each channel by its number.
extern "C" __global__ void add_bias(float *out, const float *image, const float *bias, unsigned count, unsigned channels,
                                    unsigned pixels) {
    EACH(i, count) out[i] = image[i] + bias[i / pixels % channels];
}

// Sums over a block, in a fixed order; every thread gets them. `shared` holds one number for each thread.
static __device__ float block_sum(float value, float *shared) {
    __syncthreads();
    shared[threadIdx.x] = value;
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    }
    __syncthreads();
    return shared[0];
}

// The sum of each row; one block a row.
extern "C" __global__ void row_sums(float *out, const float *rows, unsigned length) {
    __shared__ float shared[256];
    const float *from = rows + (size_t)blockIdx.x * length;
    float sum = 0.0f;
    for (unsigned i = threadIdx.x; i < length; i += blockDim.x) sum += from[i];
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

// The sum of squares of each of as many parts as there are blocks, of values that are multiplied by a factor before.
extern "C" __global__ void square_sums(float *out, const float *values, unsigned count, float factor) {
    __shared__ float shared[256];
    float sum = 0.0f;
    EACH(i, count) {
        float value = factor * values[i];
        sum += value * value;
    }
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

// The sum of each column of a few rows.
extern "C" __global__ void column_sums(float *out, const float *rows, unsigned count, unsigned length) {
    EACH(i, length) {
        float sum = 0.0f;
        for (unsigned row = 0; row < count; row++) sum += rows[(size_t)row * length + i];
        out[i] = sum;
    }
}

// Mean and 1 / standard deviation of a block's values.
static __device__ float2 moments(const float *from, unsigned length, float epsilon, float *shared) {
    float sum = 0.0f;
    for (unsigned i = threadIdx.x; i < length; i += blockDim.x) sum += from[i];
    float mean = block_sum(sum, shared) / length;
    float squares = 0.0f;
    for (unsigned i = threadIdx.x; i < length; i += blockDim.x) {
        float difference = from[i] - mean;
        squares += difference * difference;
    }
    return make_float2(mean, rsqrtf(block_sum(squares, shared) / length + epsilon));
}

// Group normalization; one block a group of a sample, whose channels lie side by side.
extern "C" __global__ void group_norm(float *out, const float *image, const float *scale, const float *shift,
                                      unsigned channels, unsigned groups, unsigned pixels, float epsilon) {
    __shared__ float shared[1024];
    unsigned members = channels / groups, length = members * pixels;
    unsigned first = blockIdx.x % groups * members;
    const float *from = image + (size_t)blockIdx.x * length;
    float *to = out + (size_t)blockIdx.x * length;
    float2 found = moments(from, length, epsilon, shared);
    for (unsigned i = threadIdx.x; i < length; i += blockDim.x) {
        unsigned channel = first + i / pixels;
        to[i] = (from[i] - found.x) * found.y * scale[channel] + shift[channel];
    }
}

// Its gradients: by the image, and after them by each sample's scales and by each sample's shifts.
extern "C" __global__ void group_norm_gradients(float *out, const float *image, const float *scale, const float *gradient,
                                                unsigned samples, unsigned channels, unsigned groups, unsigned pixels,
                                                float epsilon) {
    __shared__ float shared[1024];
    unsigned members = channels / groups, length = members * pixels;
    unsigned first = blockIdx.x % groups * members, sample = blockIdx.x / groups;
    const float *from = image + (size_t)blockIdx.x * length, *by = gradient + (size_t)blockIdx.x * length;
    float *to = out + (size_t)blockIdx.x * length;
    float *by_scale = out + (size_t)samples * channels * pixels + sample * 2 * channels + first;
    float2 found = moments(from, length, epsilon, shared);
    float mean = 0.0f, product = 0.0f;
    for (unsigned member = 0; member < members; member++) {
        float sum = 0.0f, weighted = 0.0f;
        for (unsigned i = member * pixels + threadIdx.x; i < (member + 1) * pixels; i += blockDim.x) {
            sum += by[i];
            weighted += by[i] * ((from[i] - found.x) * found.y);
        }
        sum = block_sum(sum, shared);
        weighted = block_sum(weighted, shared);
        if (threadIdx.x == 0) by_scale[member] = weighted, by_scale[channels + member] = sum;
        mean += sum * scale[first + member];
        product += weighted * scale[first + member];
    }
    mean /= length;
    product /= length;
    for (unsigned i = threadIdx.x; i < length; i += blockDim.x) {
        float normal = (from[i] - found.x) * found.y;
        to[i] = found.y * (by[i] * scale[first + i / pixels] - mean - normal * product);
    }
}

enum { LEAKY_RELU, SILU, SIGMOID, TANH };

static __device__ float sigmoid_of(float x) { return 0.5f * tanhf(0.5f * x) + 0.5f; }

extern "C" __global__ void activate(float *out, const float *image, unsigned count, unsigned kind, float slope) {
    EACH(i, count) {
        float x = image[i];
        switch (kind) {
            case LEAKY_RELU: out[i] = x > 0.0f ? x : slope * x; break;
            case SILU: out[i] = x * sigmoid_of(x); break;
            case SIGMOID: out[i] = sigmoid_of(x); break;
            default: out[i] = tanhf(x);
        }
    }
}

extern "C" __global__ void activate_gradient(float *out, const float *image, const float *gradient, unsigned count,
                                             unsigned kind, float slope) {
    EACH(i, count) {
        float x = image[i], s;
        switch (kind) {
            case LEAKY_RELU: out[i] = x > 0.0f ? gradient[i] : slope * gradient[i]; break;
            case SILU: s = sigmoid_of(x), out[i] = gradient[i] * (s * (1.0f + x * (1.0f - s))); break;
            case SIGMOID: s = sigmoid_of(x), out[i] = gradient[i] * (s * (1.0f - s)); break;
            default: s = tanhf(x), out[i] = gradient[i] * (1.0f - s * s);
        }
    }
}

// The place of a window's largest value, the first of equal ones; a NaN is largest.
static __device__ unsigned largest(const float *window, unsigned rows, unsigned columns, unsigned w) {
    unsigned best = 0;
    for (unsigned y = 0; y < rows; y++)
        for (unsigned x = 0; x < columns; x++) {
            float value = window[y * w + x], held = window[best];
            if (value > held || (value != value && held == held)) best = y * w + x;
        }
    return best;
}

extern "C" __global__ void pool(float *out, const float *image, unsigned count, unsigned maximum, unsigned h, unsigned w,
                                unsigned rows, unsigned columns) {
    unsigned oh = h / rows, ow = w / columns;
    EACH(i, count) {
        unsigned x = i % ow, y = i / ow % oh, plane = i / ow / oh;
        const float *window = image + ((size_t)plane * h + y * rows) * w + x * columns;
        if (maximum) {
            out[i] = window[largest(window, rows, columns, w)];
            continue;
        }
        float sum = 0.0f;
        for (unsigned k = 0; k < rows * columns; k++) sum += window[k / columns * w + k % columns];
        out[i] = sum / (rows * columns);
    }
}

extern "C" __global__ void pool_gradient(float *out, const float *image, const float *gradient, unsigned count,
                                         unsigned maximum, unsigned h, unsigned w, unsigned rows, unsigned columns) {
    unsigned oh = h / rows, ow = w / columns;
    EACH(i, count) {
        unsigned x = i % w, y = i / w % h, plane = i / w / h;
        unsigned at_x = x / columns, at_y = y / rows;
        float found = 0.0f;
        if (at_x < ow && at_y < oh) {
            float by = gradient[((size_t)plane * oh + at_y) * ow + at_x];
            const float *window = image + ((size_t)plane * h + at_y * rows) * w + at_x * columns;
            unsigned place = y % rows * w + x % columns;
            if (!maximum)
                found = by / (rows * columns);
            else if (place == largest(window, rows, columns, w))
                found = by;
        }
        out[i] = found;
    }
}

extern "C" __global__ void nearest(float *out, const float *image, unsigned count, unsigned h, unsigned w,
                                   unsigned factor) {
    EACH(i, count) {
        unsigned x = i % (w * factor) / factor, y = i / (w * factor) % (h * factor) / factor;
        unsigned plane = i / (w * factor) / (h * factor);
        out[i] = image[((size_t)plane * h + y) * w + x];
    }
}

extern "C" __global__ void nearest_gradient(float *out, const float *gradient, unsigned count, unsigned h, unsigned w,
                                            unsigned factor) {
    EACH(i, count) {
        unsigned x = i % w, y = i / w % h, plane = i / w / h;
        float sum = 0.0f;
        for (unsigned row = 0; row < factor; row++) {
            const float *from = gradient + (((size_t)plane * h + y) * factor + row) * w * factor + x * factor;
            for (unsigned column = 0; column < factor; column++) sum += from[column];
        }
        out[i] = sum;
    }
}

// Linear interpolation between pixel centers: the two pixels, and the share of the second.
struct Between {
    unsigned low, high;
    float share;
};

static __device__ Between between(unsigned target, unsigned size, unsigned factor) {
    float position = (target + 0.5f) / factor - 0.5f;
    position = fminf(fmaxf(position, 0.0f), (float)(size - 1));
    unsigned low = (unsigned)position;
    return {low, min(low + 1, size - 1), position - low};
}

extern "C" __global__ void bilinear(float *out, const float *image, unsigned count, unsigned h, unsigned w,
                                    unsigned factor) {
    EACH(i, count) {
        Between x = between(i % (w * factor), w, factor), y = between(i / (w * factor) % (h * factor), h, factor);
        const float *plane = image + (size_t)(i / (w * factor) / (h * factor)) * h * w;
        float low = plane[y.low * w + x.low] * (1.0f - x.share) + plane[y.low * w + x.high] * x.share;
        float high = plane[y.high * w + x.low] * (1.0f - x.share) + plane[y.high * w + x.high] * x.share;
        out[i] = low * (1.0f - y.share) + high * y.share;
    }
}

static __device__ float share_of(Between found, unsigned source) {
    return (found.low == source ? 1.0f - found.share : 0.0f) + (found.high == source ? found.share : 0.0f);
}

extern "C" __global__ void bilinear_gradient(float *out, const float *gradient, unsigned count, unsigned h, unsigned w,
                                             unsigned factor) {
    EACH(i, count) {
        unsigned x = i % w, y = i / w % h;
        const float *plane = gradient + (size_t)(i / w / h) * h * w * factor * factor;
        // Those that a pixel has a share in lie within one pixel of it.
        unsigned top = y > 0 ? (y - 1) * factor : 0, bottom = min((y + 2) * factor, h * factor);
        unsigned left = x > 0 ? (x - 1) * factor : 0, right = min((x + 2) * factor, w * factor);
        float sum = 0.0f;
        for (unsigned row = top; row < bottom; row++) {
            float part = 0.0f, share = share_of(between(row, h, factor), y);
            if (share == 0.0f) continue;
            for (unsigned column = left; column < right; column++)
                part += plane[(size_t)row * w * factor + column] * share_of(between(column, w, factor), x);
            sum += part * share;
        }
        out[i] = sum;
    }
}

// Adam's first moments and, after them, its second ones.
extern "C" __global__ void adam_moments(float *moments, const float *gradient, unsigned count, float scale, float beta1,
                                        float beta2) {
    EACH(i, count) {
        float g = gradient[i] * scale;
        moments[i] = moments[i] * beta1 + g * (1.0f - beta1);
        moments[count + i] = moments[count + i] * beta2 + g * g * (1.0f - beta2);
    }
}

extern "C" __global__ void adam_step(float *parameter, const float *moments, unsigned count, float kept, float rate,
                                     float correction1, float correction2, float epsilon) {
    EACH(i, count) {
        float direction = moments[i] / correction1 / (sqrtf(moments[count + i] / correction2) + epsilon);
        parameter[i] = parameter[i] * kept - direction * rate;
    }
}
