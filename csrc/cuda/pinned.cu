#include <algorithm>
#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cuda/launch.h"
#include "cuda/memory.h"
#include "cuda/offer.h"

// Pinned memory of the host's. The driver takes long to make it, so blocks are kept; one is handed on when the copies
// from and to it are done.
namespace dd2424::cuda {
namespace {

using Uses = std::vector<std::pair<void*, cudaEvent_t>>;  // by stream: behind the last copy there
struct Lent {
  std::size_t bytes;
  Uses uses;
};
struct Kept {
  void* data;
  Uses uses;
};
struct Pinned {
  std::mutex mutex;
  std::map<char*, Lent> lent;
  std::unordered_map<std::size_t, std::vector<Kept>> kept;  // by size class
};
Pinned& pinned() {  // never destroyed: tensors may outlive every static object
  static Pinned& instance = *new Pinned;
  return instance;
}

bool is_done(const Uses& uses) {
  return std::all_of(uses.begin(), uses.end(), [](const auto& use) {
    const bool done = cudaEventQuery(use.second) == cudaSuccess;
    if (!done) cudaGetLastError();  // that it is not ready is no error
    return done;
  });
}

Status allocate_pinned(std::size_t bytes, void** block) try {
  Pinned& p = pinned();
  const std::lock_guard lock(p.mutex);
  const std::size_t size = class_bytes(bytes);
  std::vector<Kept>& kept = p.kept[size];
  const auto found = std::find_if(kept.begin(), kept.end(), [](const Kept& each) { return is_done(each.uses); });
  if (found != kept.end()) {
    *block = found->data;
    for (const auto& [stream, event] : found->uses) cudaEventDestroy(event);
    kept.erase(found);
  } else {
    const Relaxed relaxed;
    const Status status = checked(cudaHostAlloc(block, size, cudaHostAllocPortable));
    if (status != Status::ok) return status;
  }
  p.lent.insert_or_assign(static_cast<char*>(*block), Lent{size, {}});
  return Status::ok;
} catch (...) {  // the host's memory for the lists
  return checked(cudaErrorMemoryAllocation);
}

void release_pinned(void* block) try {
  Pinned& p = pinned();
  const std::lock_guard lock(p.mutex);
  const auto found = p.lent.find(static_cast<char*>(block));
  if (found == p.lent.end()) return;
  p.kept[found->second.bytes].push_back({block, std::move(found->second.uses)});
  p.lent.erase(found);
} catch (...) {}

// Notes behind which work on a stream the block is no longer read or written.
Status note_copy(const void* at, void* stream) try {
  Pinned& p = pinned();
  const std::lock_guard lock(p.mutex);
  auto found = p.lent.upper_bound(static_cast<char*>(const_cast<void*>(at)));
  if (found == p.lent.begin()) return Status::ok;
  Uses& uses = std::prev(found)->second.uses;
  auto use = std::find_if(uses.begin(), uses.end(), [&](const auto& each) { return each.first == stream; });
  if (use == uses.end()) {
    cudaEvent_t event = nullptr;
    const Status status = checked(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    if (status != Status::ok) return status;
    use = uses.insert(uses.end(), {stream, event});
  }
  return checked(cudaEventRecord(use->second, static_cast<cudaStream_t>(stream)));
} catch (...) { return checked(cudaErrorMemoryAllocation); }

Status copy(void* y, const void* x, std::size_t bytes, cudaMemcpyKind kind, void* stream) {
  const Status status = checked(cudaMemcpyAsync(y, x, bytes, kind, static_cast<cudaStream_t>(stream)));
  return status == Status::ok ? note_copy(kind == cudaMemcpyHostToDevice ? x : y, stream) : status;
}

}  // namespace

void offer_pinned(DeviceServices& services) {
  services.allocate_pinned = allocate_pinned;
  services.release_pinned = release_pinned;
  services.from_pinned = [](void* y, const void* x, std::size_t bytes, void* stream) {
    return copy(y, x, bytes, cudaMemcpyHostToDevice, stream);
  };
  services.to_pinned = [](void* y, const void* x, std::size_t bytes, void* stream) {
    return copy(y, x, bytes, cudaMemcpyDeviceToHost, stream);
  };
}

}  // namespace dd2424::cuda
