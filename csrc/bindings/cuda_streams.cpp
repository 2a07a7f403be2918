#include "bindings/python.h"
#include "core/device.h"
#include "ops/copy.h"
#include "ops/graph.h"

// Streams, events and graphs of the GPU; the classes that users see are made of these in dd2424/cuda.
namespace dd2424 {
namespace {

using namespace py::literals;

void check_ok(const char* op, Status status) {
  if (status != Status::ok) throw_device_error(op);
}
// Calls without the host's lock what may wait for the GPU.
template <class... Params, class... Args>
void wait(const char* op, Status (*DeviceServices::*service)(Params...), Args... args) {
  check_not_capturing(op, "the GPU must not be waited for");
  const DeviceServices& gpu = device_services(op);
  Status status;
  {
    const py::gil_scoped_release unlocked;
    status = (gpu.*service)(args...);
  }
  check_ok(op, status);
}

struct Stream {  // owned, or one that somebody else made
  void* pointer = nullptr;
  int priority = 0;
  bool is_owned = false;
  static std::unique_ptr<Stream> make(int priority) {
    auto stream = std::make_unique<Stream>();
    check_ok("Stream", device_services("Stream").make_stream(priority, &stream->pointer));
    stream->priority = priority;
    stream->is_owned = true;
    return stream;
  }
  static std::unique_ptr<Stream> at(std::uintptr_t pointer) {
    auto stream = std::make_unique<Stream>();
    stream->pointer = reinterpret_cast<void*>(pointer);
    return stream;
  }
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() {
    if (is_owned) device_services("Stream").drop_stream(pointer, priority);
  }
};

struct Event {
  void* pointer = nullptr;
  bool is_recorded = false;
  explicit Event(bool is_timed) { check_ok("Event", device_services("Event").make_event(is_timed, &pointer)); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { device_services("Event").drop_event(pointer); }
};

bool is_done(const char* op, Status (*ask)(void*, bool*), void* pointer) {
  check_not_capturing(op, "a stream or an event must not be asked whether it is done");
  bool done = false;
  check_ok(op, ask(pointer, &done));
  return done;
}

void bind_streams(py::module_& m) {
  py::class_<Stream>(m, "CudaStream")
      .def(py::init(&Stream::make), "priority"_a = 0)
      .def_static("at", &Stream::at, "pointer"_a)
      .def_static("current", [] { return Stream::at(reinterpret_cast<std::uintptr_t>(current_stream())); })
      .def("make_current", [](const Stream& s) { set_current_stream(s.pointer); })
      .def_property_readonly("pointer", [](const Stream& s) { return reinterpret_cast<std::uintptr_t>(s.pointer); })
      .def_readonly("priority", &Stream::priority)
      .def(
          "wait_stream",
          [](const Stream& s, const Stream& other) {
            check_ok("wait_stream", device_services("wait_stream").order(other.pointer, s.pointer));
          },
          "stream"_a)
      .def("query",
           [](const Stream& s) { return is_done("query", device_services("query").stream_is_done, s.pointer); })
      .def("synchronize", [](const Stream& s) { wait("synchronize", &DeviceServices::finish_stream, s.pointer); });
  py::class_<Event>(m, "CudaEvent")
      .def(py::init<bool>(), "is_timed"_a = false)
      .def_property_readonly("pointer", [](const Event& e) { return reinterpret_cast<std::uintptr_t>(e.pointer); })
      .def(
          "record",
          [](Event& e, const Stream& s) {
            check_ok("record", device_services("record").record_event(e.pointer, s.pointer));
            e.is_recorded = true;
          },
          "stream"_a)
      .def(
          "wait",
          [](const Event& e, const Stream& s) {
            check_ok("wait", device_services("wait").wait_for_event(s.pointer, e.pointer));
          },
          "stream"_a)
      .def("query", [](const Event& e) { return is_done("query", device_services("query").event_is_done, e.pointer); })
      .def("synchronize", [](const Event& e) { wait("synchronize", &DeviceServices::finish_event, e.pointer); })
      .def(
          "elapsed_time",
          [](const Event& e, const Event& end) {
            check(e.is_recorded && end.is_recorded, "elapsed_time: both events must be recorded");
            float ms = 0;
            check_ok("elapsed_time", device_services("elapsed_time").elapsed_ms(e.pointer, end.pointer, &ms));
            return ms;
          },
          "end_event"_a);
}

struct Pool {  // Python's side of a pool of memory
  Ref<ops::GraphPool> pool;
};

void bind_graphs(py::module_& m) {
  using ops::Graph;
  py::class_<Pool>(m, "CudaGraphPool").def(py::init([] { return Pool{make_ref<ops::GraphPool>()}; }));
  py::class_<Graph>(m, "CudaGraph")
      .def(py::init<>())
      .def(
          "capture_begin", [](Graph& g, const Pool* pool) { g.begin(pool ? pool->pool : nullptr); },
          "pool"_a = py::none())
      .def("capture_end", &Graph::end)
      .def("cancel", &Graph::cancel)
      .def("replay", &Graph::replay)
      .def("reset", &Graph::reset)
      .def("pool",
           [](const Graph& g) {
             check(static_cast<bool>(g.pool()), "pool: the graph must have been captured, got an empty one");
             return Pool{g.pool()};
           })
      .def_property_readonly("is_captured", &Graph::is_captured);
}

}  // namespace

void bind_cuda_streams(py::module_& m) {
  bind_streams(m);
  bind_graphs(m);
  m.def("cuda_is_capturing", &is_capturing);
  m.def("pin_memory", &ops::pin_memory, "input"_a);
  m.def("is_pinned", &ops::is_pinned, "input"_a);
  m.def(
      "record_stream",
      [](const Tensor& x, const Stream& stream) {
        check(x.device() == Device::cuda, "record_stream: input must be on a GPU, got one on ", x.device());
        device_services("record_stream").use_on(x->storage->data, stream.pointer);
      },
      "input"_a, "stream"_a);
  // For libraries that are to have their memory from here.
  m.def(
      "cuda_allocate",
      [](std::size_t bytes) {
        device_services("cuda_allocate");
        return reinterpret_cast<std::uintptr_t>(allocate_on(Device::cuda, bytes));
      },
      "bytes"_a);
  m.def(
      "cuda_release",
      [](std::uintptr_t block) {
        device_services("cuda_release").release(reinterpret_cast<void*>(block), current_stream());
      },
      "block"_a);
}

}  // namespace dd2424
