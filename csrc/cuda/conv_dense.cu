#include "cuda/conv_dense.h"

#include "cuda/conv_products.h"
#include "cuda/conv_units.h"

namespace dd2424::cuda {
namespace {

bool has_last(Format format, Index channels, const Index (&space)[kSpace]) {
  return format == Format::channels_last || channels == 1 || space[0] * space[1] * space[2] == 1;
}
Index size_of(const Index (&space)[kSpace]) { return space[0] * space[1] * space[2]; }
constexpr std::size_t rounded_up(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

// What a pass lays out anew, and the sizes that its product then has. In the workspace x, the weights and y stand one
// behind the other, and then what the product itself asks for.
template <class T>
struct Arranged {
  ConvSizes given, sizes;
  bool x, weight, y;
  std::size_t x_bytes, weight_bytes, y_bytes;

  Arranged(Pass pass, const ConvSizes& s) : given(s), sizes(s) {
    const Index inputs = s.inputs / s.groups, unit = kChunk<T>;
    const bool odd_x = s.inputs % unit != 0, odd_y = s.outputs % unit != 0;
    x = !has_last(s.x_format, s.inputs, s.image) || (odd_x && pass != Pass::input);
    y = !has_last(s.y_format, s.outputs, s.out) || (odd_y && pass != Pass::forward);
    weight = pass != Pass::weight && (!has_last(s.weight_format, inputs, s.kernel) || odd_x);
    sizes.x_format = sizes.weight_format = sizes.y_format = Format::channels_last;
    sizes.inputs = whole_units<T>(s.inputs), sizes.outputs = whole_units<T>(s.outputs);
    const Index taps = size_of(s.kernel);
    x_bytes = x ? bytes(s.batch * size_of(s.image) * sizes.inputs) : 0;
    y_bytes = y ? bytes(s.batch * size_of(s.out) * sizes.outputs) : 0;
    weight_bytes = weight ? bytes(s.outputs * taps * (sizes.inputs / s.groups)) : 0;
  }
  bool any() const { return x || weight || y; }
  Images x_images() const { return {given.batch, given.inputs, size_of(given.image), is_last(given.x_format)}; }
  Images y_images() const { return {given.batch, given.outputs, size_of(given.out), is_last(given.y_format)}; }
  Images filters() const {
    return {given.outputs, given.inputs / given.groups, size_of(given.kernel), is_last(given.weight_format)};
  }
  // Where they then are.
  T* x_at(const Context& context) const { return static_cast<T*>(context.workspace); }
  T* weight_at(const Context& context) const { return x_at(context) + x_bytes / sizeof(T); }
  T* y_at(const Context& context) const { return weight_at(context) + weight_bytes / sizeof(T); }
  std::size_t all_bytes() const { return x_bytes + weight_bytes + y_bytes; }
  Context rest(const Context& context) const {
    Context rest = context;
    if (rest.workspace) rest.workspace = static_cast<std::byte*>(rest.workspace) + all_bytes();
    return rest;
  }

 private:
  static bool is_last(Format format) { return format == Format::channels_last; }
  static std::size_t bytes(Index elements) { return rounded_up(static_cast<std::size_t>(elements) * sizeof(T)); }
};

template <class T>
using ForwardProblem = CorrelationProblem<T, Patches<T>, Filters<T, true>>;
template <class T>
using InputProblem = CorrelationProblem<T, Patches<T>, Filters<T, false>>;

// The result keeps its own channels, and where it is not in the workspace it lies as it was asked for.
template <class T>
void keep_channels(Correlation<T>& c, bool in_workspace, Index all_channels, const Index (&space)[kSpace]) {
  c.outputs = all_channels / c.groups;
  if (!in_workspace) c.y_at = Layout(Format::channels_last, all_channels, space);
}
template <class T>
Correlation<T> dense_forward(const Arranged<T>& p, const ConvForward<T>& a) {
  ConvForward<T> dense = a;
  dense.sizes = p.sizes;
  Correlation<T> c = forward_of(dense);
  keep_channels(c, p.y, p.given.outputs, p.given.out);
  return c;
}
template <class T>
Correlation<T> dense_input(const Arranged<T>& p, const ConvInput<T>& a, const Index (&first)[kSpace]) {
  ConvInput<T> dense = a;
  dense.sizes = p.sizes;
  Correlation<T> c = input_of(dense, first);
  keep_channels(c, p.x, p.given.inputs, p.given.image);
  return c;
}
template <class T>
InputProblem<T> input_problem(const Arranged<T>& p, const ConvInput<T>& a, const Index (&first)[kSpace]) {
  InputProblem<T> problem(dense_input(p, a, first));
  problem.b.channels = narrow(p.given.outputs / p.given.groups);
  return problem;
}
template <class Problem>
std::size_t workspace_of(const Problem& p) {
  return product_workspace<typename Problem::Element>(p.rows, p.columns, p.steps, p.count, Problem::limits);
}

// dweight: taps and inputs are the rows, the outputs the columns, and pixels the steps, of which each product has a
// slice. The sums of all slices are then added in their order.
template <class Problem>
struct SlicePart {
  Surroundings<typename Problem::Element> a;
  Slopes<typename Problem::Element> b;
  Index columns;
  float* sums;
  using Element = float;

  __device__ bool is_dense() const { return true; }
  __device__ float* line(Index row) const { return sums + row * columns; }
  __device__ float result(const float*, Index, float sum) const { return sum; }
  __device__ void store(float* line, Index column, float sum) const { line[column] = sum; }
};

constexpr Index kLongest = 4096, kShortest = 384;  // pixels in one chain of sums
constexpr Index kAtOnce = 2 * 132;                 // tiles, on the largest GPUs

template <class T>
struct SliceProblem {
  static constexpr Limits limits{};
  using Element = T;
  Surroundings<T> a;
  Slopes<T> b;
  float* sums;
  Index rows, columns, steps, count, slices, pixels;

  SliceProblem(const ConvSizes& s, const T* x, const T* dy, float* sums)
      : a(x, s, Layout(Format::channels_last, s.inputs, s.image)), b{}, sums(sums) {
    rows = a.row_count, columns = s.outputs / s.groups;
    pixels = s.batch * size_of(s.out);
    const Index tiles = ceil_div(rows, rows > 64 ? 128 : 64) * ceil_div(columns, columns > 64 ? 128 : 64) * s.groups;
    slices = kAtOnce / tiles;
    if (slices < 1) slices = 1;
    for (Index turns = 2; ceil_div(pixels, slices) > kLongest; ++turns) slices = turns * kAtOnce / tiles;
    steps = ceil_div(ceil_div(pixels, slices), 128) * 128;  // whole slices of any main loop
    if (steps < kShortest) steps = kShortest;
    slices = ceil_div(pixels, steps);
    count = slices * s.groups;
    b = {.data = dy, .row_count = narrow(columns), .pixels = 0, .pixel_step = narrow(s.outputs)};
  }
  std::size_t bytes() const { return rounded_up(static_cast<std::size_t>(count * rows * columns) * sizeof(float)); }
  __device__ SlicePart<SliceProblem> part(Index item) const {
    const Index group = quotient(item, slices), first = (item - group * slices) * steps;
    SlicePart<SliceProblem> part{a, b, columns, sums + item * rows * columns};
    part.a.data += group * a.channels;
    part.a.first = static_cast<int>(first);
    part.b.data += first * b.pixel_step + group * columns;
    part.b.pixels = static_cast<int>(pixels - first);
    return part;
  }
};

struct FilterSizes {
  Index outputs, inputs, taps;  // of a group
};
template <class T>
__global__ void add_slices_kernel(const float* sums, Index slices, FilterSizes padded, FilterSizes real, bool is_last,
                                  Index count, T* dweight) {
  const Index all = padded.taps * padded.inputs * padded.outputs;
  for_each_item(count, [&](Index i) {  // (groups, taps, inputs, outputs), as the sums are
    const Index place = quotient(i, real.outputs), output = i - place * real.outputs;
    const Index row = quotient(place, real.inputs), input = place - row * real.inputs;
    const Index group = quotient(row, real.taps), tap = row - group * real.taps;
    const float* from = sums + group * slices * all + (tap * padded.inputs + input) * padded.outputs + output;
    float sum = 0;
#pragma unroll 8
    for (Index slice = 0; slice < slices; ++slice) sum += from[slice * all];
    T* filter = dweight + (group * real.outputs + output) * real.inputs * real.taps;
    filter[is_last ? tap * real.inputs + input : input * real.taps + tap] = element<T>(sum);
  });
}
FilterSizes filter_sizes(const ConvSizes& s) { return {s.outputs / s.groups, s.inputs / s.groups, size_of(s.kernel)}; }

constexpr Index kArrangedWork = Index{1} << 22;  // multiplications that are worth some launches more

}  // namespace

template <class T>
bool prefers_dense(Pass pass, const ConvSizes& s) {
  constexpr Index most = (Index{1} << 31) - 4096;  // of pixels and of all weights, that 32 bits number
  const Index inputs = s.inputs / s.groups, outputs = s.outputs / s.groups, unit = kChunk<T>;
  if (s.groups > 1 && (inputs % unit != 0 || outputs % unit != 0)) return false;
  if (s.inputs == 0 || s.outputs == 0 || s.batch == 0) return false;
  Index taps = 1;
  double work = static_cast<double>(s.batch) * static_cast<double>(s.outputs) * static_cast<double>(inputs);
  for (int d = 0; d < kSpace; ++d) {
    if (s.kernel[d] > kMostTapBits || s.image[d] == 0 || s.out[d] == 0) return false;
    taps += s.kernel[d];
    work *= static_cast<double>(s.out[d] * s.kernel[d]);
  }
  const Arranged<T> p(pass, s);
  const Layout x(Format::channels_last, p.sizes.inputs, s.image);
  for (int d = 0; d < kSpace; ++d)
    if (static_cast<double>(s.padding[d] + s.dilation[d] * s.kernel[d]) * static_cast<double>(x.pixel[d]) > most / 4)
      return false;
  if (taps > kMostTapBits || x.image > most / 4) return false;
  if (s.batch > most / size_of(s.out) || s.outputs * size_of(s.kernel) * p.sizes.inputs > most / 4) return false;
  return !p.any() || work >= static_cast<double>(kArrangedWork);
}

template <class T>
std::size_t dense_workspace(Pass pass, const ConvSizes& s) {
  const Arranged<T> p(pass, s);
  std::size_t most = 0;
  if (pass == Pass::forward) {
    most = workspace_of(ForwardProblem<T>(dense_forward(p, ConvForward<T>{.sizes = s})));
  } else if (pass == Pass::weight) {
    const SliceProblem<T> problem(p.sizes, nullptr, nullptr, nullptr);
    most = problem.bytes() + workspace_of(problem);
  } else {
    for_each_class(s, [&](const Index(&first)[kSpace]) {
      const std::size_t bytes = workspace_of(input_problem(p, ConvInput<T>{.sizes = s}, first));
      if (bytes > most) most = bytes;
      return Status::ok;
    });
  }
  return p.all_bytes() + most;
}

template <class T>
Status forward_dense(const Context& context, const ConvForward<T>& a) {
  const Arranged<T> p(Pass::forward, a.sizes);
  ConvForward<T> dense = a;
  Status status = Status::ok;
  if (p.x) {
    dense.x = p.x_at(context);
    status = to_units(context, p.x_images(), a.x, p.x_at(context));
  }
  if (p.weight && status == Status::ok) {
    dense.weight = p.weight_at(context);
    status = to_units(context, p.filters(), a.weight, p.weight_at(context));
  }
  if (p.y) dense.y = p.y_at(context);
  if (status == Status::ok) status = run_product<T>(p.rest(context), ForwardProblem<T>(dense_forward(p, dense)));
  if (p.y && status == Status::ok) status = from_units(context, p.y_images(), p.y_at(context), a.y);
  return status;
}

template <class T>
Status input_dense(const Context& context, const ConvInput<T>& a) {
  const Arranged<T> p(Pass::input, a.sizes);
  ConvInput<T> dense = a;
  Status status = Status::ok;
  if (p.y) {
    dense.dy = p.y_at(context);
    status = to_units(context, p.y_images(), a.dy, p.y_at(context));
  }
  if (p.weight && status == Status::ok) {
    dense.weight = p.weight_at(context);
    status = to_units(context, p.filters(), a.weight, p.weight_at(context));
  }
  if (p.x) dense.dx = p.x_at(context);
  if (status == Status::ok)
    status = for_each_class(a.sizes, [&](const Index(&first)[kSpace]) {
      return run_product<T>(p.rest(context), input_problem(p, dense, first));
    });
  if (p.x && status == Status::ok) status = from_units(context, p.x_images(), p.x_at(context), a.dx);
  return status;
}

template <class T>
Status weight_dense(const Context& context, const ConvWeight<T>& a) {
  const Arranged<T> p(Pass::weight, a.sizes);
  ConvWeight<T> dense = a;
  Status status = Status::ok;
  if (p.x) {
    dense.x = p.x_at(context);
    status = to_units(context, p.x_images(), a.x, p.x_at(context));
  }
  if (p.y && status == Status::ok) {
    dense.dy = p.y_at(context);
    status = to_units(context, p.y_images(), a.dy, p.y_at(context));
  }
  if (status != Status::ok) return status;
  Context rest = p.rest(context);
  auto* sums = static_cast<float*>(rest.workspace);
  const SliceProblem<T> problem(p.sizes, dense.x, dense.dy, sums);
  rest.workspace = static_cast<std::byte*>(rest.workspace) + problem.bytes();
  status = run_product<T>(rest, problem);
  if (status != Status::ok) return status;
  const FilterSizes real = filter_sizes(a.sizes);
  const Index count = a.sizes.outputs * real.inputs * real.taps;
  return launch_items(context, count, add_slices_kernel<T>, static_cast<const float*>(sums), problem.slices,
                      filter_sizes(p.sizes), real, a.sizes.weight_format == Format::channels_last, count, a.dweight);
}

template bool prefers_dense<float>(Pass, const ConvSizes&);
template bool prefers_dense<bfloat16>(Pass, const ConvSizes&);
template bool prefers_dense<float16>(Pass, const ConvSizes&);
template std::size_t dense_workspace<float>(Pass, const ConvSizes&);
template std::size_t dense_workspace<bfloat16>(Pass, const ConvSizes&);
template std::size_t dense_workspace<float16>(Pass, const ConvSizes&);
template std::size_t dense_workspace<tfloat32>(Pass, const ConvSizes&);
template Status forward_dense(const Context&, const ConvForward<float>&);
template Status forward_dense(const Context&, const ConvForward<bfloat16>&);
template Status forward_dense(const Context&, const ConvForward<float16>&);
template Status forward_dense(const Context&, const ConvForward<tfloat32>&);
template Status input_dense(const Context&, const ConvInput<float>&);
template Status input_dense(const Context&, const ConvInput<bfloat16>&);
template Status input_dense(const Context&, const ConvInput<float16>&);
template Status input_dense(const Context&, const ConvInput<tfloat32>&);
template Status weight_dense(const Context&, const ConvWeight<float>&);
template Status weight_dense(const Context&, const ConvWeight<bfloat16>&);
template Status weight_dense(const Context&, const ConvWeight<float16>&);
template Status weight_dense(const Context&, const ConvWeight<tfloat32>&);

}  // namespace dd2424::cuda
