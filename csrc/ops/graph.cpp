#include "ops/graph.h"

namespace dd2424::ops {
namespace {

thread_local Graph* captured = nullptr;

void check_ok(const char* op, Status status) {
  if (status != Status::ok) throw_device_error(op);
}

}  // namespace

GraphPool::GraphPool() { check_ok("graph", device_services("graph").open_pool(&pool)); }
GraphPool::~GraphPool() { device_services("graph").close_pool(pool); }

void keep_for_replays(std::shared_ptr<const void> kept) {
  if (captured && kept) captured->kept_.push_back(std::move(kept));
}

Graph::~Graph() {
  if (stream_) cancel();
  reset();
}

void Graph::begin(Ref<GraphPool> pool) {
  const DeviceServices& gpu = device_services("capture_begin");
  check(!is_capturing(), "capture_begin: no other graph must be being captured by this thread");
  check(!graph_, "capture_begin: the graph must be empty, got one that was captured; use reset()");
  check(current_stream() != nullptr, "capture_begin: the current stream must not be the default one; use graph()");
  pool_ = pool ? std::move(pool) : make_ref<GraphPool>();
  start_ = empty({2}, DType::int64, Device::cuda);
  draws_ = {start_.data<std::uint64_t>(), 0};
  check_ok("capture_begin", gpu.begin_capture(current_stream(), pool_->pool));
  stream_ = current_stream();
  captured_draws = &draws_;
  captured = this;
  dd2424::detail::is_capturing = true;
}

void Graph::leave() {
  captured_draws = nullptr;
  captured = nullptr;
  dd2424::detail::is_capturing = false;
  stream_ = nullptr;
}

void Graph::end() {
  check(stream_ != nullptr && captured_draws == &draws_, "capture_end: capture_begin must have been called before");
  const Status status = device_services("capture_end").end_capture(stream_, &graph_);
  leave();
  check_ok("capture_end", status);
}

void Graph::cancel() noexcept {
  if (!stream_) return;
  device_services("capture_end").end_capture(stream_, &graph_);
  leave();
  reset();
}

void Graph::replay() {
  check(graph_ != nullptr, "replay: the graph must have been captured, got an empty one");
  check_not_capturing("replay", "a graph must not be replayed");
  const auto [seed, first] = default_generator().reserve(draws_.count);
  std::uint64_t* words = draws_.count ? start_.data<std::uint64_t>() : nullptr;
  check_ok("replay", device_services("replay").launch_graph(graph_, current_stream(), words, seed, first));
}

void Graph::reset() {
  if (graph_) device_services("reset").drop_graph(std::exchange(graph_, nullptr));
  pool_ = nullptr;
  kept_.clear();
}

}  // namespace dd2424::ops
