#include <map>
#include <mutex>
#include <vector>

#include "cuda/launch.h"
#include "cuda/memory.h"
#include "cuda/offer.h"

// Streams, events, and graphs of what a stream was asked.
namespace dd2424::cuda {
namespace {

cudaStream_t stream_of(void* stream) { return static_cast<cudaStream_t>(stream); }
cudaEvent_t event_of(void* event) { return static_cast<cudaEvent_t>(event); }

// Streams that were dropped, by priority. They are not destroyed: what they were asked may not be done, and blocks of
// memory are known by their stream.
struct Dropped {
  std::mutex mutex;
  std::map<int, std::vector<void*>> streams;
};
Dropped& dropped() {
  static Dropped& instance = *new Dropped;
  return instance;
}

Status make_stream(int priority, void** stream) {
  {
    const std::lock_guard lock(dropped().mutex);
    std::vector<void*>& kept = dropped().streams[priority];
    if (!kept.empty()) {
      *stream = kept.back();
      kept.pop_back();
      return Status::ok;
    }
  }
  cudaStream_t made = nullptr;
  const Status status = checked(cudaStreamCreateWithPriority(&made, cudaStreamNonBlocking, priority));
  *stream = made;
  return status;
}
void drop_stream(void* stream, int priority) try {
  const std::lock_guard lock(dropped().mutex);
  dropped().streams[priority].push_back(stream);
} catch (...) {}

Status make_event(bool is_timed, void** event) {
  cudaEvent_t made = nullptr;
  const Status status = checked(cudaEventCreateWithFlags(&made, is_timed ? cudaEventDefault : cudaEventDisableTiming));
  *event = made;
  return status;
}

Status order(void* first, void* then) {
  thread_local cudaEvent_t event = nullptr;  // a wait is for what it stood for when the wait was asked for
  if (!event)
    if (const Status status = checked(cudaEventCreateWithFlags(&event, cudaEventDisableTiming)); status != Status::ok)
      return status;
  const Status status = checked(cudaEventRecord(event, stream_of(first)));
  return status == Status::ok ? checked(cudaStreamWaitEvent(stream_of(then), event, 0)) : status;
}

Status ready(cudaError_t error, bool* is_done) {
  *is_done = error == cudaSuccess;
  if (error != cudaErrorNotReady) return checked(error);
  cudaGetLastError();
  return Status::ok;
}

thread_local GraphPool* capturing = nullptr;

Status begin_capture(void* stream, void* pool) {
  const Status status = checked(cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeThreadLocal));
  if (status == Status::ok) capturing = static_cast<GraphPool*>(pool);
  return status;
}
Status end_capture(void* stream, void** graph) {
  capturing = nullptr;
  cudaGraph_t captured = nullptr;
  if (const Status status = checked(cudaStreamEndCapture(stream_of(stream), &captured)); status != Status::ok)
    return status;
  cudaGraphExec_t made = nullptr;
  const Status status = checked(cudaGraphInstantiate(&made, captured, 0));
  cudaGraphDestroy(captured);
  *graph = made;
  return status;
}

__global__ void set_words(std::uint64_t* words, std::uint64_t first, std::uint64_t second) {
  words[0] = first;
  words[1] = second;
}
Status launch_graph(void* graph, void* stream, std::uint64_t* words, std::uint64_t first, std::uint64_t second) {
  if (words)
    if (const Status status = launch({.stream = stream}, dim3(1), dim3(1), set_words, words, first, second);
        status != Status::ok)
      return status;
  return checked(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), stream_of(stream)));
}

}  // namespace

GraphPool* captured_pool() { return capturing; }

void offer_streams(DeviceServices& services) {
  services.make_stream = make_stream;
  services.drop_stream = drop_stream;
  services.order = order;
  services.finish_stream = [](void* stream) { return checked(cudaStreamSynchronize(stream_of(stream))); };
  services.stream_is_done = [](void* stream, bool* is_done) {
    return ready(cudaStreamQuery(stream_of(stream)), is_done);
  };
  services.make_event = make_event;
  services.drop_event = [](void* event) { cudaEventDestroy(event_of(event)); };
  services.record_event = [](void* event, void* stream) {
    return checked(cudaEventRecord(event_of(event), stream_of(stream)));
  };
  services.wait_for_event = [](void* stream, void* event) {
    return checked(cudaStreamWaitEvent(stream_of(stream), event_of(event), 0));
  };
  services.finish_event = [](void* event) { return checked(cudaEventSynchronize(event_of(event))); };
  services.event_is_done = [](void* event, bool* is_done) { return ready(cudaEventQuery(event_of(event)), is_done); };
  services.elapsed_ms = [](void* start, void* end, float* ms) {
    return checked(cudaEventElapsedTime(ms, event_of(start), event_of(end)));
  };
}

void offer_graphs(DeviceServices& services) {
  services.open_pool = [](void** pool) {
    *pool = new (std::nothrow) GraphPool;
    return *pool ? Status::ok : checked(cudaErrorMemoryAllocation);
  };
  services.close_pool = [](void* pool) {
    forget_pool(static_cast<GraphPool*>(pool));
    delete static_cast<GraphPool*>(pool);
  };
  services.begin_capture = begin_capture;
  services.end_capture = end_capture;
  services.launch_graph = launch_graph;
  services.drop_graph = [](void* graph) { cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)); };
}

}  // namespace dd2424::cuda
