#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

#include "block.h"
#include "cuda_runtime.h"

namespace cuda_host {
namespace {

// Memory. It lies in one range of addresses that can be reached only while a kernel or a copy runs: the host's code
// that reads it ends in a segmentation fault. Behind each block stand bytes that nobody may write.

constexpr std::size_t kArenaBytes = std::size_t{1} << 32, kPage = 2 << 20, kFence = 64;  // large pages: few to protect
constexpr unsigned char kFenceByte = 0xa5;
constexpr int kMultiprocessors = 4;

std::byte* reserve() {
  void* found = mmap(nullptr, kArenaBytes + kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (found == MAP_FAILED) std::abort();
  const auto base = (reinterpret_cast<std::uintptr_t>(found) + kPage - 1) / kPage * kPage;
  madvise(reinterpret_cast<void*>(base), kArenaBytes, MADV_HUGEPAGE);  // a wish
  return reinterpret_cast<std::byte*>(base);
}

struct Arena {
  std::byte* base = reserve();
  std::size_t used = 0, taken = 0;              // from the base; of it, in blocks
  std::map<std::byte*, std::size_t> blocks;     // their bytes
  std::multimap<std::size_t, std::byte*> free;  // by room
  std::mutex mutex;
};
Arena& arena() {
  static Arena& instance = *new Arena;
  return instance;
}
std::size_t room_for(std::size_t bytes) { return (bytes + kFence + 255) / 256 * 256; }

class Reached {  // while one lives, the memory can be reached, and no other thread is at it
 public:
  Reached() : lock_(arena().mutex) { protect(PROT_READ | PROT_WRITE); }
  ~Reached() { protect(PROT_NONE); }
  Reached(const Reached&) = delete;
  Reached& operator=(const Reached&) = delete;

 private:
  static void protect(int how) {
    if (arena().used && mprotect(arena().base, (arena().used + kPage - 1) / kPage * kPage, how) != 0) std::abort();
  }
  std::lock_guard<std::mutex> lock_;
};

void check_fence(std::byte* block, std::size_t bytes) {
  __asan_unpoison_memory_region(block + bytes, room_for(bytes) - bytes);
  for (std::size_t i = bytes; i < room_for(bytes); ++i)
    if (block[i] != std::byte{kFenceByte}) fail("a kernel has written past the end of a block of memory");
}

}  // namespace

int wait_for_block(bool vote, const Where& where) { return current->wait(vote, where); }
const std::uint64_t* exchange(unsigned mask, std::uint64_t word, const Where& where) {
  return current->exchange(mask, word, where);
}
int lane() { return current->thread() % 32; }

void wait_for_grid(const Where& where) { current->wait_for_grid(where); }
void wait_for_signal(const Where& where) { current->wait_for_signal(where); }
void signal() { current->signal(); }
void refuse(const char* what) { fail(what); }
unsigned char* asked_shared() { return current->shared(); }

namespace {

constexpr unsigned kMostAtOnce = 8;  // blocks: as many as cudaOccupancy... and cudaDeviceGetAttribute say

// Block by block, in turns that end where all wait for each other.
void run_together(const Grid& grid, const std::vector<uint3>& places, Body body, const void* arguments) {
  static std::vector<std::unique_ptr<Block>>& blocks = *new std::vector<std::unique_ptr<Block>>;
  static std::mt19937 random{1};
  while (blocks.size() < places.size()) blocks.push_back(std::make_unique<Block>());
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < places.size(); ++i) order.push_back(i), blocks[i]->start(grid, body, arguments);
  for (std::size_t ended = 0; ended < places.size();) {
    std::shuffle(order.begin(), order.end(), random);
    for (const std::size_t i : order) {
      blockIdx = places[i];
      ended += blocks[i]->resume();
    }
    for (std::size_t i = 0; ended > 0 && ended < places.size() && i < places.size(); ++i)
      if (blocks[i]->waits_for_grid())
        fail("a barrier that not all blocks of the grid reach", &blocks[i]->grid_barrier());
  }
}

}  // namespace

cudaError_t run_grid(const Grid& grid, Body body, const void* arguments) {
  const dim3 blocks = grid.blocks, shape = grid.threads;
  const unsigned threads = shape.x * shape.y * shape.z;
  if (threads == 0 || threads > 1024 || blocks.x == 0 || blocks.y == 0 || blocks.z == 0 || blocks.y > 65535 ||
      blocks.z > 65535)
    return cudaErrorInvalidConfiguration;
  if (grid.at_once && blocks.x * blocks.y * blocks.z > kMostAtOnce) return cudaErrorCooperativeLaunchTooLarge;
  const Reached reached;
  static Block& fibers = *new Block;
  gridDim = blocks;
  blockDim = shape;
  std::vector<uint3> places;
  for (unsigned z = 0; z < blocks.z; ++z)
    for (unsigned y = 0; y < blocks.y; ++y)
      for (unsigned x = 0; x < blocks.x; ++x) {
        blockIdx = {x, y, z};
        if (grid.at_once) {
          places.push_back(blockIdx);
          continue;
        }
        fibers.start(grid, body, arguments);
        if (!fibers.resume()) fail("a barrier of a grid whose blocks may not run at once", &fibers.grid_barrier());
      }
  if (grid.at_once) run_together(grid, places, body, arguments);
  return cudaSuccess;
}

}  // namespace cuda_host

using cuda_host::arena;

cudaError_t cudaGetDeviceCount(int* count) {
  *count = std::getenv("DD2424_CUDA_HOST_ABSENT") ? 0 : 1;
  return *count ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  const char* chosen = std::getenv("DD2424_CUDA_HOST_CAPABILITY");
  const int capability = chosen ? std::atoi(chosen) : 90;
  *properties = {.name = "emulated GPU",
                 .major = capability / 10,
                 .minor = capability % 10,
                 .multiProcessorCount = cuda_host::kMultiprocessors};
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrMultiProcessorCount ? cuda_host::kMultiprocessors : 227 << 10;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  const std::lock_guard lock(arena().mutex);
  *total_bytes = cuda_host::kArenaBytes;
  *free_bytes = cuda_host::kArenaBytes - arena().taken;
  return cudaSuccess;
}
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorCooperativeLaunchTooLarge: return "too many blocks in cooperative launch";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorNotReady: return "device not ready";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    default: return error == cudaSuccess ? "no error" : "invalid argument";
  }
}

cudaError_t cudaMalloc(void** block, std::size_t bytes) {
  using namespace cuda_host;
  const std::size_t room = room_for(bytes);
  std::byte* found = nullptr;
  {
    Arena& a = arena();
    const std::lock_guard lock(a.mutex);
    if (bytes > kArenaBytes) return cudaErrorMemoryAllocation;
    if (const auto kept = a.free.find(room); kept != a.free.end()) {
      found = kept->second;
      a.free.erase(kept);
    } else {
      if (room > kArenaBytes - a.used) return cudaErrorMemoryAllocation;
      found = a.base + a.used;
      a.used += room;
    }
    a.taken += room;
    a.blocks.emplace(found, bytes);
  }
  const Reached reached;
  __asan_unpoison_memory_region(found, room);
  std::memset(found, 0xff, bytes);  // NaN, for who reads what was not written
  std::memset(found + bytes, kFenceByte, room - bytes);
  __asan_poison_memory_region(found + bytes, room - bytes);
  *block = found;
  return cudaSuccess;
}

cudaError_t cudaFree(void* block) {
  using namespace cuda_host;
  finish_all();  // as the driver waits
  const Reached reached;
  Arena& a = arena();
  const auto found = a.blocks.find(static_cast<std::byte*>(block));
  if (found == a.blocks.end()) return block ? cudaErrorInvalidValue : cudaSuccess;
  const std::size_t room = room_for(found->second);
  check_fence(found->first, found->second);
  a.free.emplace(room, found->first);
  a.taken -= room;
  __asan_poison_memory_region(found->first, room);
  a.blocks.erase(found);
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  cuda_host::finish_all();
  return cudaSuccess;
}
// Between the GPU and memory of the host's that is not pinned, the host's side is read or written before this returns.
cudaError_t cudaMemcpyAsync(void* y, const void* x, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const auto copy = [=](const void* from) {
    const cuda_host::Reached reached;
    std::memmove(y, from, bytes);
    return cudaSuccess;
  };
  const void* host = kind == cudaMemcpyHostToDevice ? x : kind == cudaMemcpyDeviceToHost ? y : nullptr;
  if (!host || cuda_host::is_pinned(host)) return cuda_host::submit(stream, [=] { return copy(x); });
  if (cuda_host::is_capturing(stream)) return cudaErrorStreamCaptureUnsupported;  // nobody keeps it for the replays
  if (kind == cudaMemcpyHostToDevice) {
    const auto* first = static_cast<const std::byte*>(x);
    return cuda_host::submit(stream, [=, kept = std::vector(first, first + bytes)] { return copy(kept.data()); });
  }
  if (const cudaError_t error = cudaStreamSynchronize(stream); error != cudaSuccess) return error;
  return copy(x);
}
cudaError_t cudaMemsetAsync(void* y, int byte, std::size_t bytes, cudaStream_t stream) {
  return cuda_host::submit(stream, [=] {
    const cuda_host::Reached reached;
    std::memset(y, byte, bytes);
    return cudaSuccess;
  });
}
