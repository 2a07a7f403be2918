#include "core/parallel.h"
#include "cpu/elementwise.h"

// Brings strided and broadcast operands to a block function: a contiguous run is passed as it lies, a broadcast value
// as one vector, any other run through a buffer. Rows too short to be worth a call are gathered several at a time.
namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kBufferElements = 256;
constexpr Index kUnit = 64;               // threads take so many elements together: whole cache lines of any type
constexpr Index kLarge = Index(1) << 20;  // below so many no operands overflow a last-level cache
constexpr Index kShortRow = 32;           // below it a call per row costs more than gathering

struct alignas(64) Buffer {
  char bytes[kBufferElements * 8];
};

template <class T>
inline void gather_rows(T* to, const T* from, Index stride, Index n) {
  for (Index i = 0; i < n; ++i) to[i] = from[i * stride];
}
inline void gather_rows(float* to, const bfloat16* from, Index stride, Index n) {
  if (stride == 1) return map(to, n, [](auto v) { return v; }, from);
  for (Index i = 0; i < n; ++i) to[i] = to_float(from[i * stride]);
}
void gather(void* to, const Operand& from, const char* data, Index stride, Index n) {
  if (from.is_bfloat16) return gather_rows(static_cast<float*>(to), reinterpret_cast<const bfloat16*>(data), stride, n);
  switch (from.bytes) {
    case 1: return gather_rows(static_cast<char*>(to), data, stride, n);
    case 2: return gather_rows(static_cast<std::int16_t*>(to), reinterpret_cast<const std::int16_t*>(data), stride, n);
    case 4: return gather_rows(static_cast<std::int32_t*>(to), reinterpret_cast<const std::int32_t*>(data), stride, n);
    default: return gather_rows(static_cast<std::int64_t*>(to), reinterpret_cast<const std::int64_t*>(data), stride, n);
  }
}

template <class T>
inline void scatter_rows(T* to, const T* from, Index stride, Index n) {
  for (Index i = 0; i < n; ++i) to[i * stride] = from[i];
}
inline void scatter_rows(bfloat16* to, const float* from, Index stride, Index n) {
  if (stride == 1) return map(to, n, [](auto v) { return v; }, from);
  for (Index i = 0; i < n; ++i) to[i * stride] = to_bfloat16(from[i]);
}
void scatter(const Operand& to, char* data, const void* from, Index stride, Index n) {
  if (to.is_bfloat16)
    return scatter_rows(reinterpret_cast<bfloat16*>(data), static_cast<const float*>(from), stride, n);
  switch (to.bytes) {
    case 1: return scatter_rows(data, static_cast<const char*>(from), stride, n);
    case 2:
      return scatter_rows(reinterpret_cast<std::int16_t*>(data), static_cast<const std::int16_t*>(from), stride, n);
    case 4:
      return scatter_rows(reinterpret_cast<std::int32_t*>(data), static_cast<const std::int32_t*>(from), stride, n);
    default:
      return scatter_rows(reinterpret_cast<std::int64_t*>(data), static_cast<const std::int64_t*>(from), stride, n);
  }
}

// A place in the index space of all dimensions but the last, and where each operand is there.
struct Row {
  Index index[kMaxDims];
  char* data[kMaxOperands];
};
Row row_at(const Walk& w, Index row) {
  Row at;
  for (int k = 0; k < w.operands; ++k) at.data[k] = static_cast<char*>(w.operand[k].data);
  for (int d = w.ndim - 2; d >= 0; --d) {
    at.index[d] = row % w.shape[d];
    row /= w.shape[d];
    for (int k = 0; k < w.operands; ++k) at.data[k] += at.index[d] * w.operand[k].strides[d] * w.operand[k].bytes;
  }
  return at;
}
void advance(const Walk& w, Row& at) {
  for (int d = w.ndim - 2; d >= 0; --d) {
    const bool wraps = ++at.index[d] == w.shape[d];
    const Index steps = wraps ? 1 - w.shape[d] : 1;
    for (int k = 0; k < w.operands; ++k) at.data[k] += steps * w.operand[k].strides[d] * w.operand[k].bytes;
    if (!wraps) return;
    at.index[d] = 0;
  }
}

// Whether y is to be stored around the caches: where it and the inputs do not fit the last level, what is left of y
// there is little, and reading the lines to be written is work for nothing. In place they are read anyway. On a Zen 4
// with 32 MB such stores are slower as long as all fits or nearly so (clone of 16 MB, two threads: 53 GB/s, not 80).
bool overflows_caches(const Walk& w) {
  Index bytes = 0;
  for (int k = 0; k < w.operands; ++k) {
    if (k > 0 && w.operand[k].data == w.operand[0].data) return false;
    Index size = w.operand[k].bytes;
    for (int d = 0; d < w.ndim; ++d)
      if (w.operand[k].strides[d] != 0) size *= w.shape[d];
    bytes += size;
  }
  return bytes > cache_bytes() / 8 * 9;
}

enum class Access : std::uint8_t { direct, value, gathered };
struct Buffers {
  Buffer operand[kMaxOperands];
};

// n elements of one row, from element j on.
void run_row(const Walk& w, const Access* access, bool around_caches, const Row& at, Index j, Index n,
             Buffers& buffers) {
  const int last = w.ndim - 1;
  Block block = w.block;
  block.around_caches = around_caches;
  bool buffered = access[0] == Access::gathered;
  for (int k = 1; k < w.operands; ++k) {
    const Operand& operand = w.operand[k];
    block.step[k - 1] = access[k] != Access::value;
    block.x[k - 1] = at.data[k] + j * operand.strides[last] * operand.bytes;
    if (access[k] == Access::direct) continue;
    if (access[k] == Access::value) {
      gather(&buffers.operand[k], operand, at.data[k], 0, kVectorBytes / (operand.is_bfloat16 ? 4 : operand.bytes));
      block.x[k - 1] = &buffers.operand[k];
    } else {
      buffered = true;
    }
  }
  char* y = at.data[0] + j * w.operand[0].strides[last] * w.operand[0].bytes;
  for (Index done = 0; done < n; done += block.n) {
    block.n = buffered && n - done > kBufferElements ? kBufferElements : n - done;
    for (int k = 1; k < w.operands; ++k) {
      const Operand& operand = w.operand[k];
      const char* x = at.data[k] + (j + done) * operand.strides[last] * operand.bytes;
      if (access[k] == Access::direct) block.x[k - 1] = x;
      if (access[k] != Access::gathered) continue;
      gather(&buffers.operand[k], operand, x, operand.strides[last], block.n);
      block.x[k - 1] = &buffers.operand[k];
    }
    char* to = y + done * w.operand[0].strides[last] * w.operand[0].bytes;
    block.y = access[0] == Access::direct ? static_cast<void*>(to) : &buffers.operand[0];
    w.function(block);
    if (access[0] != Access::direct)
      scatter(w.operand[0], to, &buffers.operand[0], w.operand[0].strides[last], block.n);
  }
}

void walk_rows(const Walk& w, bool around_caches, Index begin, Index end) {
  const Index n = w.shape[w.ndim - 1];
  Access access[kMaxOperands];
  for (int k = 0; k < w.operands; ++k) {
    const Index stride = w.operand[k].strides[w.ndim - 1];
    access[k] = stride == 0 && k > 0                       ? Access::value
                : stride == 1 && !w.operand[k].is_bfloat16 ? Access::direct
                                                           : Access::gathered;
  }
  Buffers buffers;
  Row at = row_at(w, begin / n);
  for (Index j = begin % n; begin < end; j = 0, advance(w, at)) {
    const Index count = n - j < end - begin ? n - j : end - begin;
    run_row(w, access, around_caches && access[0] == Access::direct, at, j, count, buffers);
    begin += count;
  }
}

// How an operand meets blocks of whole short rows: the whole of it contiguous, one value, the same rows again and again
// (gathered once), or gathered for each block.
enum class RowAccess : std::uint8_t { direct, value, periodic, gathered };
RowAccess row_access(const Walk& w, const Operand& operand) {
  bool contiguous = !operand.is_bfloat16, outer_zero = true;
  Index expected = 1;
  for (int d = w.ndim - 1; d >= 0; expected *= w.shape[d--]) {
    if (operand.strides[d] != expected && w.shape[d] != 1) contiguous = false;
    if (d < w.ndim - 1 && operand.strides[d] != 0) outer_zero = false;
  }
  if (contiguous) return RowAccess::direct;
  if (!outer_zero) return RowAccess::gathered;
  return operand.strides[w.ndim - 1] == 0 ? RowAccess::value : RowAccess::periodic;
}

void walk_blocks(const Walk& w, Index rows, Index rows_per_block, Index begin, Index end) {
  const int last = w.ndim - 1;
  const Index n = w.shape[last];
  RowAccess access[kMaxOperands];
  Buffers buffers;
  Block block = w.block;
  Row at = row_at(w, begin * rows_per_block);
  for (int k = 0; k < w.operands; ++k) {
    const Operand& operand = w.operand[k];
    access[k] = row_access(w, operand);
    if (k == 0) continue;
    block.step[k - 1] = access[k] != RowAccess::value;
    block.x[k - 1] = &buffers.operand[k];
    const Index value_lanes = kVectorBytes / (operand.is_bfloat16 ? 4 : operand.bytes);
    const Index size = operand.is_bfloat16 ? 4 : operand.bytes;
    if (access[k] == RowAccess::value) gather(&buffers.operand[k], operand, at.data[k], 0, value_lanes);
    if (access[k] == RowAccess::periodic)
      for (Index r = 0; r < rows_per_block; ++r)
        gather(buffers.operand[k].bytes + r * n * size, operand, at.data[k], operand.strides[last], n);
  }
  const Operand& output = w.operand[0];
  const Index size = output.is_bfloat16 ? 4 : output.bytes;
  for (Index i = begin; i < end; ++i) {
    const Index first = i * rows_per_block, count = rows - first < rows_per_block ? rows - first : rows_per_block;
    const Row start = at;
    for (int k = 1; k < w.operands; ++k)
      if (access[k] == RowAccess::direct) block.x[k - 1] = start.data[k];
    for (Index r = 0; r < count; ++r, advance(w, at))
      for (int k = 1; k < w.operands; ++k)
        if (access[k] == RowAccess::gathered)
          gather(buffers.operand[k].bytes + r * n * (w.operand[k].is_bfloat16 ? 4 : w.operand[k].bytes), w.operand[k],
                 at.data[k], w.operand[k].strides[last], n);
    block.n = count * n;
    block.y = access[0] == RowAccess::direct ? static_cast<void*>(start.data[0]) : &buffers.operand[0];
    w.function(block);
    if (access[0] == RowAccess::direct) continue;
    Row to = start;
    for (Index r = 0; r < count; ++r, advance(w, to))
      scatter(output, to.data[0], buffers.operand[0].bytes + r * n * size, output.strides[last], n);
  }
}

}  // namespace

void walk(const Walk& w) {
  const Index n = w.shape[w.ndim - 1];
  Index rows = 1;
  for (int d = 0; d < w.ndim - 1; ++d) rows *= w.shape[d];
  const Index count = rows * n;
  if (count == 0) return;
  if (rows == 1 || n >= kShortRow) {
    const bool around_caches = count >= kLarge && overflows_caches(w);
    return parallel_for((count + kUnit - 1) / kUnit, w.grain / kUnit, [=, &w](Index begin, Index end) {
      walk_rows(w, around_caches, begin * kUnit, end * kUnit < count ? end * kUnit : count);
      if (around_caches) end_stores_around();
    });
  }
  const Index rows_per_block = kBufferElements / n;
  parallel_for((rows + rows_per_block - 1) / rows_per_block, w.grain / kBufferElements + 1,
               [&](Index begin, Index end) { walk_blocks(w, rows, rows_per_block, begin, end); });
}

}  // namespace dd2424::cpu::DD2424_ISA
