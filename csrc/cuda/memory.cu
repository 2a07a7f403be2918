#include <cuda_runtime.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cuda/launch.h"
#include "cuda/offer.h"

// The GPU's memory: blocks from size classes, kept when released for the next request on the same stream. Work on one
// stream is done in order, so a block may be handed on before the GPU is done with it.
namespace dd2424::cuda {
namespace {

constexpr std::size_t kSmallest = 512;

// Classes are four steps in each power of two: at most a quarter of a block is unused.
std::size_t class_bytes(std::size_t bytes) {
  if (bytes <= kSmallest) return kSmallest;
  const std::size_t step = std::bit_floor(bytes - 1) / 4;
  return (bytes + step - 1) / step * step;
}

struct Block {
  std::size_t bytes;
  void* stream;
};
struct Pool {
  std::mutex mutex;
  std::map<std::pair<void*, std::size_t>, std::vector<void*>> kept;  // by stream and size
  std::unordered_map<void*, Block> lent;
  MemoryStats stats{};
  // For compute-sanitizer and the like: every block is the driver's own, of the size asked for, filled with NaN.
  bool is_checked = false;
};
Pool& pool() {  // never destroyed: tensors may outlive every static object
  static Pool& instance = *new Pool;
  return instance;
}

void give_back(Pool& p) {
  for (auto& [key, blocks] : p.kept) {
    for (void* block : blocks) cudaFree(block);
    p.stats.reserved_bytes -= static_cast<Index>(key.second * blocks.size());
  }
  p.kept.clear();
}

Status reserve(Pool& p, std::size_t bytes, void** block) {
  cudaError_t error = cudaMalloc(block, bytes);
  if (error == cudaErrorMemoryAllocation && !p.kept.empty()) {  // what is kept may be enough
    cudaGetLastError();
    give_back(p);
    error = cudaMalloc(block, bytes);
  }
  if (error == cudaSuccess) {
    ++p.stats.system_allocations;
    p.stats.reserved_bytes += static_cast<Index>(bytes);
  }
  return checked(error);
}

Status take(Pool& p, std::size_t bytes, void* stream, void** block) {
  const auto found = p.kept.find({stream, bytes});
  if (found == p.kept.end() || found->second.empty()) return reserve(p, bytes, block);
  *block = found->second.back();
  found->second.pop_back();
  return Status::ok;
}

Status allocate(std::size_t bytes, void* stream, void** block) try {
  Pool& p = pool();
  const std::lock_guard lock(p.mutex);
  const std::size_t size = p.is_checked ? std::max<std::size_t>(bytes, 1) : class_bytes(bytes);
  if (const Status status = take(p, size, stream, block); status != Status::ok) return status;
  p.lent.emplace(*block, Block{size, stream});
  ++p.stats.allocations;
  p.stats.in_use_bytes += static_cast<Index>(size);
  p.stats.peak_bytes = std::max(p.stats.peak_bytes, p.stats.in_use_bytes);
  if (!p.is_checked) return Status::ok;
  return checked(cudaMemsetAsync(*block, 0xff, size, static_cast<cudaStream_t>(stream)));
} catch (...) {  // the host's memory for the pool's own lists
  return checked(cudaErrorMemoryAllocation);
}

void release(void* data) try {
  Pool& p = pool();
  const std::lock_guard lock(p.mutex);
  const auto found = p.lent.find(data);
  if (found == p.lent.end()) return;
  const Block block = found->second;
  p.lent.erase(found);
  p.stats.in_use_bytes -= static_cast<Index>(block.bytes);
  if (p.is_checked) {
    cudaFree(data);
    p.stats.reserved_bytes -= static_cast<Index>(block.bytes);
  } else {
    p.kept[{block.stream, block.bytes}].push_back(data);
  }
} catch (...) {}

Status copy(void* y, const void* x, std::size_t bytes, cudaMemcpyKind kind, void* stream) {
  const auto on = static_cast<cudaStream_t>(stream);
  const Status status = checked(cudaMemcpyAsync(y, x, bytes, kind, on));
  return status == Status::ok ? checked(cudaStreamSynchronize(on)) : status;
}

}  // namespace

void start_memory() {
  const char* check = std::getenv("DD2424_CUDA_CHECK");
  pool().is_checked = check && *check == '1';
}

void offer_memory(DeviceServices& services) {
  services.memory = [] {
    const std::lock_guard lock(pool().mutex);
    return pool().stats;
  };
  services.reset_peak_memory = [] {
    const std::lock_guard lock(pool().mutex);
    pool().stats.peak_bytes = pool().stats.in_use_bytes;
  };
  services.empty_cache = [] {
    const std::lock_guard lock(pool().mutex);
    give_back(pool());
  };
  services.total_memory = [](std::size_t* free_bytes, std::size_t* total_bytes) {
    return checked(cudaMemGetInfo(free_bytes, total_bytes));
  };
  services.allocate = allocate;
  services.release = release;
  services.from_host = [](void* y, const void* x, std::size_t bytes, void* stream) {
    return copy(y, x, bytes, cudaMemcpyHostToDevice, stream);
  };
  services.to_host = [](void* y, const void* x, std::size_t bytes, void* stream) {
    return copy(y, x, bytes, cudaMemcpyDeviceToHost, stream);
  };
}

}  // namespace dd2424::cuda
