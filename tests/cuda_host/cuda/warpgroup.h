#pragma once
// The emulated GPU's version of csrc/cuda/warpgroup.h, which says what these do. Products are read from shared memory
// only when they are waited for, and where the PTX ISA says that a descriptor leads.
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <vector>

#include "cuda/tensor_core.h"
#include "cuda/value.h"

#define __grid_constant__

namespace dd2424::cuda {

constexpr bool kHasWarpgroups = true;
constexpr int kWarpgroup = 128;
constexpr std::uint32_t kSwizzle = 1024;
constexpr int kBlockLines = 64, kBlockBytes = kBlockLines * 128;

struct Barrier {
  int arrivals, pending;
  std::int64_t bytes;
  unsigned parity;  // of the phase that is open
};
namespace host {

inline void settle(Barrier& barrier) {
  if (barrier.pending > 0 || barrier.bytes > 0) return;
  barrier.pending = barrier.arrivals;
  barrier.parity ^= 1;
  cuda_host::signal();
}

// A matrix as a descriptor has it: element (line of 8, chunk of 16 bytes) and so on by the canonical layouts.
struct Described {
  const std::byte* first;
  std::uint32_t start, leading, stride;
  explicit Described(std::uint64_t bits)
      : start(static_cast<std::uint32_t>(bits & 0x3fff) << 4),
        leading(static_cast<std::uint32_t>(bits >> 16 & 0x3fff) << 4),
        stride(static_cast<std::uint32_t>(bits >> 32 & 0x3fff) << 4) {
    first = reinterpret_cast<const std::byte*>(cuda_host::asked_shared());
    if (bits >> 62 != 1 || (bits >> 49 & 7) != 0) cuda_host::refuse("a descriptor of another layout");
  }
  // Of `row` along a's rows or b's columns, and step k. Addresses are swizzled as a whole: bits 4 to 6 by bits 7 to 9.
  template <class T>
  float at(bool transposed, int row, int k) const {
    std::uint32_t address = start;
    if (transposed) address += row % 64 * 2 + row / 64 * leading + k % 8 * 128 + k / 8 * stride;
    else address += row % 8 * 128 + row / 8 * stride + k * static_cast<int>(sizeof(T));
    address ^= (address >> 7 & 7) << 4;
    std::uint32_t bits = 0;
    std::memcpy(&bits, first + address, sizeof(T));
    return element_of<T>(bits, 0);
  }
};
struct Product {
  void (*multiply)(const Product&);
  float* d;
  int count;
  Described a, b;
  bool a_transposed, b_transposed;
};
using Products = std::vector<Product>;
inline std::deque<Products>& products_of_thread() {  // the last is still open
  static std::vector<std::deque<Products>> all(1024, std::deque<Products>(1));
  return all[threadIdx.x];
}
template <class T>
void multiply(const Product& p) {
  constexpr int steps = 32 / sizeof(T);
  const int thread = static_cast<int>(threadIdx.x) % kWarpgroup, row = thread / 32 * 16 + thread % 32 / 4;
  float left[2][steps];
  for (int half = 0; half < 2; ++half)
    for (int k = 0; k < steps; ++k) left[half][k] = p.a.at<T>(p.a_transposed, row + 8 * half, k);
  for (int j = 0; j < p.count / 4; ++j)
    for (int e = 0; e < 2; ++e)
      for (int k = 0; k < steps; ++k) {
        const float right = p.b.at<T>(p.b_transposed, 8 * j + thread % 4 * 2 + e, k);
        for (int half = 0; half < 2; ++half)
          p.d[4 * j + 2 * half + e] = fmaf(left[half][k], right, p.d[4 * j + 2 * half + e]);
      }
}

}  // namespace host

inline void start_barrier(Barrier& barrier, int arrivals) { barrier = {arrivals, arrivals, 0, 0}; }
inline void show_barriers() {}
inline void arrive(Barrier& barrier) {
  --barrier.pending;
  host::settle(barrier);
}
inline void arrive_and_announce(Barrier& barrier, int bytes) {
  barrier.bytes += bytes;
  arrive(barrier);
}
inline void wait_for_phase(Barrier& barrier, unsigned parity,
                           const cuda_host::Where& where = cuda_host::Where::current()) {
  while (barrier.parity == parity) cuda_host::wait_for_signal(where);
}
inline void show_to_tensor_cores() {}
template <int registers>
void give_registers() {}
template <int registers>
void take_registers() {}
inline std::uint32_t shared_address(const void* shared) {
  return static_cast<std::uint32_t>(static_cast<const unsigned char*>(shared) - cuda_host::asked_shared());
}
inline std::byte* first_block(unsigned char* memory) {
  const std::uint32_t past = shared_address(memory) % kSwizzle;
  return reinterpret_cast<std::byte*>(memory) + (kSwizzle - past) % kSwizzle;
}
inline std::uint64_t described(const std::byte* lines) {
  return std::uint64_t{(shared_address(lines) & 0x3ffff) >> 4} | std::uint64_t{kBlockBytes >> 4} << 16 |
         std::uint64_t{kSwizzle >> 4} << 32 | std::uint64_t{1} << 62;
}
template <bool transposed>
std::uint64_t steps_on(std::uint64_t description, int products) {
  return description + static_cast<unsigned>(products * ((transposed ? 16 * 128 : 32) >> 4));
}
template <class T, bool a_transposed, bool b_transposed, int count>
void start_product(float (&d)[count], std::uint64_t a, std::uint64_t b) {
  host::products_of_thread().back().push_back(
      {host::multiply<T>, d, count, host::Described(a), host::Described(b), a_transposed, b_transposed});
}
inline void open_products() {}
inline void close_products() { host::products_of_thread().emplace_back(); }
template <int groups, int blocks, int count>
void wait_for_products(float (&)[blocks][count]) {
  auto& all = host::products_of_thread();
  while (all.size() - 1 > groups) {
    for (const host::Product& product : all.front()) product.multiply(product);
    all.pop_front();
  }
}

struct Boxes {
  const std::byte* data;
  std::int64_t size[3], stride[2];
  int bytes;  // of an element
};
template <class T>
bool make_boxes(Boxes& boxes, const T* data, const std::int64_t (&size)[3], const std::int64_t (&stride)[2]) {
  boxes = {reinterpret_cast<const std::byte*>(data), {size[0], size[1], size[2]}, {stride[0], stride[1]}, sizeof(T)};
  return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && stride[0] % 16 == 0 && stride[1] % 16 == 0;
}
inline void start_box(std::byte* lines, const Boxes& boxes, int x, int y, int z, Barrier& barrier) {
  for (int line = 0; line < kBlockLines; ++line)
    for (int i = 0; i < 128 / boxes.bytes; ++i) {
      std::uint32_t bits = 0;
      const auto bytes = static_cast<std::size_t>(boxes.bytes);
      if (x + i < boxes.size[0] && y + line < boxes.size[1] && z < boxes.size[2])
        std::memcpy(&bits, boxes.data + z * boxes.stride[1] + (y + line) * boxes.stride[0] + (x + i) * boxes.bytes,
                    bytes);
      if (boxes.bytes == 4 && (bits & 0x7f800000) != 0x7f800000)  // ties to even
        bits = (bits + 0xfff + (bits >> 13 & 1)) & 0xffffe000;
      const int at = i * boxes.bytes;
      std::memcpy(lines + line * 128 + (at / 16 ^ line % 8) * 16 + at % 16, &bits, bytes);
    }
  barrier.bytes -= kBlockBytes;
  host::settle(barrier);
}

}  // namespace dd2424::cuda
