#pragma once
#include <memory>
#include <vector>

#include "ops/random.h"

// Work on a GPU written down once and done many times: a step of small kernels then costs the host one call.
namespace dd2424::ops {

// Memory that captured graphs work in. It is kept until the last graph that has it is gone.
struct GraphPool final : Counted {
  void* pool = nullptr;
  GraphPool();
  ~GraphPool();
};

// While this thread captures a graph: the graph has this as long as it may be replayed.
void keep_for_replays(std::shared_ptr<const void> kept);

class Graph {
 public:
  Graph() = default;
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // Between these, what this thread asks of the GPU is written down. Its stream must not be the default one.
  void begin(Ref<GraphPool> pool);  // null: one of its own
  void end();
  void cancel() noexcept;  // in place of end()
  // Does it all again, on this thread's stream, behind what was asked of it before. Random numbers are those that the
  // same calls would draw now.
  void replay();
  void reset();  // forgets what was captured
  bool is_captured() const { return graph_ != nullptr; }
  const Ref<GraphPool>& pool() const { return pool_; }

 private:
  friend void keep_for_replays(std::shared_ptr<const void> kept);
  void leave();
  Ref<GraphPool> pool_;
  std::vector<std::shared_ptr<const void>> kept_;
  Tensor start_;  // (2) int64, on the GPU: where the generator stands when a replay begins
  CapturedDraws draws_{};
  void* graph_ = nullptr;
  void* stream_ = nullptr;  // that is being captured
};

}  // namespace dd2424::ops
