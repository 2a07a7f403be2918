#include "cuda/memory.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <map>
#include <mutex>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cuda/launch.h"
#include "cuda/offer.h"

// The GPU's memory: blocks from size classes, kept when released for the next request on the same stream. Work on one
// stream is done in order, so a block may be handed on before the GPU is done with it; where another stream has used
// it, an event tells when that is done.
namespace dd2424::cuda {
namespace {

struct Block {
  std::size_t bytes;
  void* stream;
  const GraphPool* pool;           // that of a captured graph, or null
  std::vector<cudaEvent_t> users;  // on other streams
};
struct Kept {
  void* data;
  std::vector<cudaEvent_t> users;
};
using Place = std::tuple<const GraphPool*, void*, std::size_t>;  // whose, on which stream, how large
struct Memory {
  std::mutex mutex;
  std::map<Place, std::vector<Kept>> kept;
  std::unordered_map<void*, Block> lent;
  MemoryStats stats{};
  // For compute-sanitizer and the like: every block is the driver's own, of the size asked for, filled with NaN.
  bool is_checked = false;
};
Memory& memory() {  // never destroyed: tensors may outlive every static object
  static Memory& instance = *new Memory;
  return instance;
}

void free_block(Memory& m, void* data, std::size_t bytes, std::vector<cudaEvent_t>& users) {
  cudaFree(data);  // waits for what runs
  for (const cudaEvent_t user : users) cudaEventDestroy(user);
  m.stats.reserved_bytes -= static_cast<Index>(bytes);
}
// What is kept for `pool`, null for that of no graph.
void give_back(Memory& m, const GraphPool* pool) {
  for (auto at = m.kept.lower_bound({pool, nullptr, 0}); at != m.kept.end() && std::get<0>(at->first) == pool;) {
    for (Kept& kept : at->second) free_block(m, kept.data, std::get<2>(at->first), kept.users);
    at = m.kept.erase(at);
  }
}

Status reserve(Memory& m, std::size_t bytes, void** block) {
  const Relaxed relaxed;
  cudaError_t error = cudaMalloc(block, bytes);
  if (error == cudaErrorMemoryAllocation && !captured_pool()) {  // what is kept may be enough
    cudaGetLastError();
    give_back(m, nullptr);
    error = cudaMalloc(block, bytes);
  }
  if (error == cudaSuccess) {
    ++m.stats.system_allocations;
    m.stats.reserved_bytes += static_cast<Index>(bytes);
  }
  return checked(error);
}

Status take(Memory& m, const Place& place, void** block) {
  const auto [pool, stream, bytes] = place;
  const auto found = m.kept.find(place);
  if (found == m.kept.end() || found->second.empty()) return reserve(m, bytes, block);
  Kept kept = std::move(found->second.back());
  found->second.pop_back();
  *block = kept.data;
  for (const cudaEvent_t user : kept.users) {
    cudaStreamWaitEvent(static_cast<cudaStream_t>(stream), user, 0);
    cudaEventDestroy(user);
  }
  return Status::ok;
}

Status allocate(std::size_t bytes, void* stream, void** block) try {
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  const std::size_t size = m.is_checked ? std::max<std::size_t>(bytes, 1) : class_bytes(bytes);
  const GraphPool* pool = captured_pool();
  if (const Status status = take(m, {pool, stream, size}, block); status != Status::ok) return status;
  m.lent.insert_or_assign(*block, Block{size, stream, pool, {}});
  ++m.stats.allocations;
  m.stats.in_use_bytes += static_cast<Index>(size);
  m.stats.peak_bytes = std::max(m.stats.peak_bytes, m.stats.in_use_bytes);
  if (!m.is_checked) return Status::ok;
  return checked(cudaMemsetAsync(*block, 0xff, size, static_cast<cudaStream_t>(stream)));
} catch (...) {  // the host's memory for the pool's own lists
  return checked(cudaErrorMemoryAllocation);
}

void note_use(Block& block, void* stream) {
  if (stream == block.stream) return;
  cudaEvent_t event = nullptr;
  if (cudaEventCreateWithFlags(&event, cudaEventDisableTiming) != cudaSuccess) return;
  cudaEventRecord(event, static_cast<cudaStream_t>(stream));
  block.users.push_back(event);
}
void use_on(void* data, void* stream) try {
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  const auto found = m.lent.find(data);
  if (found != m.lent.end() && !captured_pool()) note_use(found->second, stream);
} catch (...) {}

void release(void* data, void* stream) try {
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  const auto found = m.lent.find(data);
  if (found == m.lent.end()) return;
  Block block = std::move(found->second);
  m.lent.erase(found);
  m.stats.in_use_bytes -= static_cast<Index>(block.bytes);
  GraphPool* capturing = captured_pool();
  if (capturing && (block.pool != capturing || block.stream != stream)) {
    // What a graph reads is no one else's for as long as it may be replayed.
    m.kept[{capturing, kNoStream, block.bytes}].push_back({data, std::move(block.users)});
    return;
  }
  if (!capturing && !block.pool) note_use(block, stream);
  if (m.is_checked && !block.pool) {
    free_block(m, data, block.bytes, block.users);
  } else {
    m.kept[{block.pool, block.stream, block.bytes}].push_back({data, std::move(block.users)});
  }
} catch (...) {}

Status copy(void* y, const void* x, std::size_t bytes, cudaMemcpyKind kind, void* stream) {
  const auto on = static_cast<cudaStream_t>(stream);
  const Status status = checked(cudaMemcpyAsync(y, x, bytes, kind, on));
  return status == Status::ok ? checked(cudaStreamSynchronize(on)) : status;
}

}  // namespace

// Classes are four steps in each power of two: at most a quarter of a block is unused.
std::size_t class_bytes(std::size_t bytes) {
  constexpr std::size_t kSmallest = 512;
  if (bytes <= kSmallest) return kSmallest;
  const std::size_t step = std::bit_floor(bytes - 1) / 4;
  return (bytes + step - 1) / step * step;
}

void forget_pool(const GraphPool* pool) {
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  for (auto& [data, block] : m.lent)
    if (block.pool == pool) block.pool = nullptr;  // a tensor that outlives the graph
  give_back(m, pool);
}

void start_memory() {
  const char* check = std::getenv("DD2424_CUDA_CHECK");
  memory().is_checked = check && *check == '1';
}

void offer_memory(DeviceServices& services) {
  services.memory = [] {
    const std::lock_guard lock(memory().mutex);
    return memory().stats;
  };
  services.reset_peak_memory = [] {
    const std::lock_guard lock(memory().mutex);
    memory().stats.peak_bytes = memory().stats.in_use_bytes;
  };
  services.empty_cache = [] {
    const std::lock_guard lock(memory().mutex);
    if (!captured_pool()) give_back(memory(), nullptr);
  };
  services.total_memory = [](std::size_t* free_bytes, std::size_t* total_bytes) {
    return checked(cudaMemGetInfo(free_bytes, total_bytes));
  };
  services.allocate = allocate;
  services.release = release;
  services.use_on = use_on;
  services.from_host = [](void* y, const void* x, std::size_t bytes, void* stream) {
    return copy(y, x, bytes, cudaMemcpyHostToDevice, stream);
  };
  services.to_host = [](void* y, const void* x, std::size_t bytes, void* stream) {
    return copy(y, x, bytes, cudaMemcpyDeviceToHost, stream);
  };
}

}  // namespace dd2424::cuda
