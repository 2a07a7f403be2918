#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda_runtime.h"

namespace {

using cuda_host::Work;

struct Mark {  // what an event stands for: a place in a stream's work
  cudaStream_t stream;
  bool is_done = false;
  std::chrono::steady_clock::time_point time;
};
using MarkRef = std::shared_ptr<Mark>;

}  // namespace

struct CUgraph_st {
  std::vector<Work> work;
};
struct CUgraphExec_st {
  std::vector<Work> work;
};
struct CUstream_st {
  std::deque<Work> waiting;
  CUgraph_st* captured = nullptr;  // that what it is asked goes to
};
struct CUevent_st {
  bool is_timed;
  MarkRef mark;                    // null: never recorded
  CUgraph_st* captured = nullptr;  // recorded while this was
};

namespace {

struct Streams {
  std::recursive_mutex mutex;
  std::vector<cudaStream_t> all;
  std::map<const char*, std::size_t> pinned;
};
Streams& streams() {
  static Streams& instance = *new Streams;
  return instance;
}
using Locked = std::lock_guard<std::recursive_mutex>;

void run_next(cudaStream_t stream) {
  const Work work = std::move(stream->waiting.front());
  stream->waiting.pop_front();
  if (work() == cudaSuccess) return;
  std::fprintf(stderr, "emulated GPU: work on a stream was refused\n");
  std::abort();
}
void finish(cudaStream_t stream) {
  while (stream && !stream->waiting.empty()) run_next(stream);
}
void finish(const Mark& mark) {
  while (!mark.is_done) run_next(mark.stream);
}

}  // namespace

namespace cuda_host {

cudaError_t submit(cudaStream_t stream, Work work) {
  const Locked locked(streams().mutex);
  if (!stream) return work();
  if (stream->captured) stream->captured->work.push_back(std::move(work));
  else stream->waiting.push_back(std::move(work));
  return cudaSuccess;
}
void finish_all() {
  const Locked locked(streams().mutex);
  for (const cudaStream_t stream : streams().all) finish(stream);
}
bool is_capturing(cudaStream_t stream) {
  const Locked locked(streams().mutex);
  return stream && stream->captured;
}
bool is_pinned(const void* at) {
  const Locked locked(streams().mutex);
  const auto found = streams().pinned.upper_bound(static_cast<const char*>(at));
  if (found == streams().pinned.begin()) return false;
  const auto& [block, bytes] = *std::prev(found);
  return static_cast<const char*>(at) < block + bytes;
}

}  // namespace cuda_host

using cuda_host::is_capturing;

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  const Locked locked(streams().mutex);
  streams().all.push_back(*stream = new CUstream_st);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (is_capturing(stream)) return cudaErrorStreamCaptureUnsupported;
  const Locked locked(streams().mutex);
  finish(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (is_capturing(stream)) return cudaErrorStreamCaptureUnsupported;
  const Locked locked(streams().mutex);
  return stream && !stream->waiting.empty() ? cudaErrorNotReady : cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Locked locked(streams().mutex);
  if (event->captured) {  // the other stream's work is part of the graph from now on
    if (stream && !stream->captured) stream->captured = event->captured;
    return stream && stream->captured == event->captured ? cudaSuccess : cudaErrorStreamCaptureUnsupported;
  }
  if (is_capturing(stream)) return cudaErrorStreamCaptureUnsupported;
  if (!event->mark) return cudaSuccess;
  return cuda_host::submit(stream, [mark = event->mark] { return finish(*mark), cudaSuccess; });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new CUevent_st{(flags & cudaEventDisableTiming) == 0, nullptr, nullptr};
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Locked locked(streams().mutex);
  event->captured = stream ? stream->captured : nullptr;
  event->mark = nullptr;
  if (event->captured) return cudaSuccess;
  event->mark = std::make_shared<Mark>(Mark{stream, false, {}});
  return cuda_host::submit(stream, [mark = event->mark] {
    mark->time = std::chrono::steady_clock::now();
    mark->is_done = true;
    return cudaSuccess;
  });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Locked locked(streams().mutex);
  if (event->captured) return cudaErrorStreamCaptureUnsupported;
  if (event->mark) finish(*event->mark);
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const Locked locked(streams().mutex);
  if (event->captured) return cudaErrorStreamCaptureUnsupported;
  return event->mark && !event->mark->is_done ? cudaErrorNotReady : cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end) {
  const Locked locked(streams().mutex);
  if (!start->is_timed || !end->is_timed || !start->mark || !end->mark) return cudaErrorInvalidValue;
  if (!start->mark->is_done || !end->mark->is_done) return cudaErrorNotReady;
  *ms = std::chrono::duration<float, std::milli>(end->mark->time - start->mark->time).count();
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** block, std::size_t bytes, unsigned) {
  const Locked locked(streams().mutex);
  *block = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (!*block) return cudaErrorMemoryAllocation;
  streams().pinned.emplace(static_cast<char*>(*block), bytes);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const Locked locked(streams().mutex);
  if (!stream || stream->captured) return cudaErrorStreamCaptureUnsupported;
  stream->captured = new CUgraph_st;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const Locked locked(streams().mutex);
  if (!is_capturing(stream)) return cudaErrorStreamCaptureUnsupported;
  *graph = stream->captured;
  for (const cudaStream_t each : streams().all)
    if (each->captured == *graph) each->captured = nullptr;
  return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode*) { return cudaSuccess; }
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* made, cudaGraph_t graph, unsigned long long) {
  *made = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  for (const Work& work : graph->work)
    if (const cudaError_t error = cuda_host::submit(stream, work); error != cudaSuccess) return error;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  delete graph;
  return cudaSuccess;
}
