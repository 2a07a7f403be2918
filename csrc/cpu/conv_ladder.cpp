#include "core/conv.h"

#include "core/float_mode.h"
#include "core/table.h"
#include "cpu/gemm_ladder.h"

// Convolution on the ladder: by its definition, then as a product of the weights and a matrix of patches by each of the
// rungs of cpu/gemm_ladder.h. docs/ladder.md walks through them.
namespace dd2424::cpu::DD2424_ISA {
namespace {

struct Point {
  Index d, h, w;
};
template <class F>
void for_each_point(const Index (&size)[ConvSizes::kSpace], const F& f) {
  for (Index d = 0; d < size[0]; ++d)
    for (Index h = 0; h < size[1]; ++h)
      for (Index w = 0; w < size[2]; ++w) f(Point{d, h, w});
}
inline Index flat(const Index (&size)[ConvSizes::kSpace], Point p) { return (p.d * size[1] + p.h) * size[2] + p.w; }
inline Index count(const Index (&size)[ConvSizes::kSpace]) { return size[0] * size[1] * size[2]; }

// The pixel of x that tap q meets when y's pixel is p, or -1 outside of the image.
inline Index pixel_met(const ConvSizes& s, Point p, Point q) {
  const Point at{p.d * s.stride[0] + q.d * s.dilation[0] - s.padding[0],
                 p.h * s.stride[1] + q.h * s.dilation[1] - s.padding[1],
                 p.w * s.stride[2] + q.w * s.dilation[2] - s.padding[2]};
  const bool inside =
      at.d >= 0 && at.d < s.image[0] && at.h >= 0 && at.h < s.image[1] && at.w >= 0 && at.w < s.image[2];
  return inside ? flat(s.image, at) : -1;
}

// Element (n, c, p) of a batch of images lies at n * image + c * channel + p * pixel.
struct Layout {
  Index image, channel, pixel;
  Layout(Format format, Index channels, Index pixels)
      : image(channels * pixels),
        channel(format == Format::channels_last ? 1 : pixels),
        pixel(format == Format::channels_last ? channels : 1) {}
};
inline Layout x_layout(const ConvSizes& s) { return {s.x_format, s.inputs, count(s.image)}; }
inline Layout y_layout(const ConvSizes& s) { return {s.y_format, s.outputs, count(s.out)}; }
inline Layout weight_layout(const ConvSizes& s) { return {s.weight_format, s.inputs / s.groups, count(s.kernel)}; }

// Every term of the sums: f(where in x, where in the weights, where in y).
template <class F>
void for_each_term(const ConvSizes& s, const F& f) {
  const Layout x = x_layout(s), y = y_layout(s), weight = weight_layout(s);
  const Index inputs = s.inputs / s.groups, outputs = s.outputs / s.groups;
  for (Index n = 0; n < s.batch; ++n) {
    for (Index o = 0; o < s.outputs; ++o) {
      for_each_point(s.out, [&](Point p) {
        const Index to = n * y.image + o * y.channel + flat(s.out, p) * y.pixel;
        for (Index c = 0; c < inputs; ++c) {
          const Index channel = n * x.image + (o / outputs * inputs + c) * x.channel;
          for_each_point(s.kernel, [&](Point q) {
            const Index pixel = pixel_met(s, p, q), tap = o * weight.image + c * weight.channel;
            if (pixel >= 0) f(channel + pixel * x.pixel, tap + flat(s.kernel, q) * weight.pixel, to);
          });
        }
      });
    }
  }
}

// Naive: the definition. All three passes have the same terms, and differ in where they are added.
template <class T>
void forward_naive(const ConvForward<T>& a, T*) {
  for_each_term(a.sizes, [&](Index x, Index w, Index y) { a.y[y] += a.weight[w] * a.x[x]; });
}
template <class T>
void input_naive(const ConvInput<T>& a, T*) {
  for_each_term(a.sizes, [&](Index x, Index w, Index y) { a.dx[x] += a.weight[w] * a.dy[y]; });
}
template <class T>
void weight_naive(const ConvWeight<T>& a, T*) {
  for_each_term(a.sizes, [&](Index x, Index w, Index y) { a.dweight[w] += a.x[x] * a.dy[y]; });
}

// The rungs above: patches (inputs of a group * taps, pixels of y), row (c, q) being what tap q of channel c meets.
// Rows are in the order of the weights in memory, so that the weights of a group are a matrix too.
inline Index patch_rows(const ConvSizes& s) { return s.inputs / s.groups * count(s.kernel); }

// f(row, where its channel begins in an image of x, its tap). Threads take whole channels, for two taps may meet a
// pixel, and as many neighbours as there are: channels-last, they share lines of the cache.
template <class F>
void for_each_row(const ConvSizes& s, Index group, bool is_threaded, const F& f) {
  const Layout x = x_layout(s);
  const Index inputs = s.inputs / s.groups, taps = count(s.kernel);
  const bool last = s.weight_format == Format::channels_last;
  parallel_for(inputs, is_threaded ? ceil_div(inputs, num_threads()) : inputs, [&](Index begin, Index end) {
    for (Index c = begin; c < end; ++c) {
      for_each_point(s.kernel, [&](Point q) {
        const Index tap = flat(s.kernel, q);
        f(last ? tap * inputs + c : c * taps + tap, (group * inputs + c) * x.channel, q);
      });
    }
  });
}
template <class T>
void copy_patches(const ConvSizes& s, const T* image, Index group, bool is_threaded, T* patches) {
  const Index pixel = x_layout(s).pixel, pixels = count(s.out);
  for_each_row(s, group, is_threaded, [&](Index row, Index channel, Point q) {
    T* to = patches + row * pixels;
    for_each_point(s.out, [&](Point p) {
      const Index met = pixel_met(s, p, q);
      *to++ = met < 0 ? T(0) : image[channel + met * pixel];
    });
  });
}
template <class T>
void add_patches(const ConvSizes& s, const T* patches, Index group, bool is_threaded, T* image) {
  const Index pixel = x_layout(s).pixel, pixels = count(s.out);
  for_each_row(s, group, is_threaded, [&](Index row, Index channel, Point q) {
    const T* from = patches + row * pixels;
    for_each_point(s.out, [&](Point p) {
      const Index met = pixel_met(s, p, q);
      if (met >= 0) image[channel + met * pixel] += *from;
      ++from;
    });
  });
}

// f(where the group's x begins: image and group, where its weights begin, where its y begins).
template <class F>
void for_each_group(const ConvSizes& s, const F& f) {
  const Index outputs = s.outputs / s.groups;
  for (Index n = 0; n < s.batch; ++n)
    for (Index g = 0; g < s.groups; ++g)
      f(n * x_layout(s).image, g, g * outputs * patch_rows(s),
        n * y_layout(s).image + g * outputs * y_layout(s).channel);
}

// y = weights patches.
template <class T, auto kMultiply, bool IsThreaded>
void forward_patches(const ConvForward<T>& a, T* patches) {
  const ConvSizes& s = a.sizes;
  const Index rows = patch_rows(s), pixels = count(s.out);
  for_each_group(s, [&](Index image, Index group, Index weights, Index out) {
    copy_patches(s, a.x + image, group, IsThreaded, patches);
    kMultiply({.a = a.weight + weights,
               .b = patches,
               .c = a.y + out,
               .m = s.outputs / s.groups,
               .n = pixels,
               .k = rows,
               .a_row = rows,
               .a_column = 1,
               .b_row = pixels,
               .b_column = 1,
               .c_row = y_layout(s).channel,
               .c_column = y_layout(s).pixel});
  });
}
// Gradients of patches = weights^T dy, and every pixel of x adds up what its copies got.
template <class T, auto kMultiply, bool IsThreaded>
void input_patches(const ConvInput<T>& a, T* patches) {
  const ConvSizes& s = a.sizes;
  const Index rows = patch_rows(s), pixels = count(s.out);
  for_each_group(s, [&](Index image, Index group, Index weights, Index out) {
    for (Index i = 0; i < rows * pixels; ++i) patches[i] = 0;
    kMultiply({.a = a.weight + weights,
               .b = a.dy + out,
               .c = patches,
               .m = rows,
               .n = pixels,
               .k = s.outputs / s.groups,
               .a_row = 1,
               .a_column = rows,
               .b_row = y_layout(s).channel,
               .b_column = y_layout(s).pixel,
               .c_row = pixels,
               .c_column = 1});
    add_patches(s, patches, group, IsThreaded, a.dx + image);
  });
}
// dweight = the sum over images of dy patches^T.
template <class T, auto kMultiply, bool IsThreaded>
void weight_patches(const ConvWeight<T>& a, T* patches) {
  const ConvSizes& s = a.sizes;
  const Index rows = patch_rows(s), pixels = count(s.out);
  for_each_group(s, [&](Index image, Index group, Index weights, Index out) {
    copy_patches(s, a.x + image, group, IsThreaded, patches);
    kMultiply({.a = a.dy + out,
               .b = patches,
               .c = a.dweight + weights,
               .m = s.outputs / s.groups,
               .n = rows,
               .k = pixels,
               .a_row = y_layout(s).channel,
               .a_column = y_layout(s).pixel,
               .b_row = 1,
               .b_column = pixels,
               .c_row = rows,
               .c_column = 1});
  });
}

// What all rungs share: images start at the bias, and may end in max(0, .).
template <class T, class F>
void for_each_image_element(T* images, Layout layout, Index batch, Index channels, const F& f) {
  for (Index n = 0; n < batch; ++n)
    for (Index c = 0; c < channels; ++c)
      for (Index p = 0; p < layout.image / channels; ++p)
        f(images[n * layout.image + c * layout.channel + p * layout.pixel], c);
}
template <class T, class F>
void fill_images(T* images, Layout layout, Index batch, Index channels, const T* bias, bool relu, const F& convolve) {
  for_each_image_element(images, layout, batch, channels, [&](T& y, Index c) { y = bias ? bias[c] : T(0); });
  convolve();
  if (relu) for_each_image_element(images, layout, batch, channels, [](T& y, Index) { y = y < 0 ? 0 : y; });
}

template <class T, auto kConvolve>
Status conv_forward(const Context& context, const ConvForward<T>& a) {
  const FloatMode mode;
  const ConvSizes& s = a.sizes;
  fill_images(a.y, y_layout(s), s.batch, s.outputs, a.bias, a.relu,
              [&] { kConvolve(a, static_cast<T*>(context.workspace)); });
  return Status::ok;
}
template <class T, auto kConvolve>
Status conv_input(const Context& context, const ConvInput<T>& a) {
  const FloatMode mode;
  const ConvSizes& s = a.sizes;
  fill_images(a.dx, x_layout(s), s.batch, s.inputs, a.bias, a.relu,
              [&] { kConvolve(a, static_cast<T*>(context.workspace)); });
  return Status::ok;
}
template <class T, auto kConvolve>
Status conv_weight(const Context& context, const ConvWeight<T>& a) {
  const FloatMode mode;
  for (Index i = 0; i < a.sizes.outputs * patch_rows(a.sizes); ++i) a.dweight[i] = 0;
  kConvolve(a, static_cast<T*>(context.workspace));
  return Status::ok;
}

template <class T>
std::size_t patch_bytes(const ConvSizes& s) {
  return sizeof(T) * std::size_t(patch_rows(s) * count(s.out));
}
inline std::size_t no_bytes(const ConvSizes&) { return 0; }

template <class T>
constexpr ConvKernels<T> kNaive{.conv_forward = conv_forward<T, forward_naive<T>>,
                                .conv_input = conv_input<T, input_naive<T>>,
                                .conv_weight = conv_weight<T, weight_naive<T>>,
                                .conv_forward_workspace = no_bytes,
                                .conv_input_workspace = no_bytes,
                                .conv_weight_workspace = no_bytes};
template <class T, auto kMultiply, bool IsThreaded>
constexpr ConvKernels<T> kPatches{.conv_forward = conv_forward<T, forward_patches<T, kMultiply, IsThreaded>>,
                                  .conv_input = conv_input<T, input_patches<T, kMultiply, IsThreaded>>,
                                  .conv_weight = conv_weight<T, weight_patches<T, kMultiply, IsThreaded>>,
                                  .conv_forward_workspace = patch_bytes<T>,
                                  .conv_input_workspace = patch_bytes<T>,
                                  .conv_weight_workspace = patch_bytes<T>};

template <class T>
const ConvKernels<T>* rung_of(Rung rung) {
  switch (rung) {
    case Rung::naive: return &kNaive<T>;
    case Rung::blocked: return &kPatches<T, multiply_blocked<T>, false>;
    case Rung::vectorised: return &kPatches<T, multiply_vectorised<T>, false>;
    default: return &kPatches<T, multiply_threaded<T>, true>;
  }
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA

namespace dd2424 {
template <>
const ConvKernels<float>* cpu::rung_of<ConvKernels<float>, cpu::DD2424_ISA::Level>(Rung rung) {
  return cpu::DD2424_ISA::rung_of<float>(rung);
}
template <>
const ConvKernels<double>* cpu::rung_of<ConvKernels<double>, cpu::DD2424_ISA::Level>(Rung rung) {
  return cpu::DD2424_ISA::rung_of<double>(rung);
}
}  // namespace dd2424
