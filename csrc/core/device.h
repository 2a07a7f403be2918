#pragma once
#include <string>

#include "core/allocator.h"
#include "core/types.h"

// The GPU, as the host sees it: this table of services, and the tables of kernels in core/table.h. The CUDA library
// fills both in when it is opened; it is a plain shared library, and nothing else stands between the two.
namespace dd2424 {

struct DeviceServices {
  int (*count)();         // of GPUs; the first is the one that is used
  const char* (*name)();  // of the one in use
  int (*capability)();    // its compute capability, 90 for 9.0
  int (*multiprocessors)();
  const char* (*runtime)();     // what runs the kernels: "CUDA 13.0"
  const char* (*last_error)();  // why the last call answered device_error
  Status (*synchronize)();      // waits for all that was asked of the GPU
  MemoryStats (*memory)();
  void (*reset_peak_memory)();
  void (*empty_cache)();
  Status (*total_memory)(std::size_t* free_bytes, std::size_t* total_bytes);
  // A block serves the stream it was made for: what comes next on that stream may have it as soon as it is released.
  // Where it is released on another stream, or was used on one (`use_on`), it is handed on behind what that stream had
  // been asked until then.
  Status (*allocate)(std::size_t bytes, void* stream, void** block);
  void (*release)(void* block, void* stream);
  void (*use_on)(void* block, void* stream);
  // Copies in the stream's order. The host's memory may be changed, and be read, as soon as they return.
  Status (*from_host)(void* y, const void* x, std::size_t bytes, void* stream);
  Status (*to_host)(void* y, const void* x, std::size_t bytes, void* stream);

  // Memory of the host's that the GPU reaches by itself: copies from and to it return before they are done. A block is
  // handed on when they are.
  Status (*allocate_pinned)(std::size_t bytes, void** block);
  void (*release_pinned)(void* block);
  Status (*from_pinned)(void* y, const void* x, std::size_t bytes, void* stream);
  Status (*to_pinned)(void* y, const void* x, std::size_t bytes, void* stream);

  // Streams are never destroyed: one that is dropped serves the next who asks. Null is CUDA's default stream.
  Status (*make_stream)(int priority, void** stream);  // lower numbers first, as CUDA has it
  void (*drop_stream)(void* stream, int priority);
  Status (*order)(void* first, void* then);  // what comes next on `then` waits for all that `first` has been asked
  Status (*finish_stream)(void* stream);     // the host waits
  Status (*stream_is_done)(void* stream, bool* is_done);
  Status (*make_event)(bool is_timed, void** event);
  void (*drop_event)(void* event);
  Status (*record_event)(void* event, void* stream);
  Status (*wait_for_event)(void* stream, void* event);  // what comes next on the stream waits
  Status (*finish_event)(void* event);                  // the host waits
  Status (*event_is_done)(void* event, bool* is_done);
  Status (*elapsed_ms)(void* start, void* end, float* ms);

  // Graphs: what a thread asks of a stream is written down instead of being done, and can then be done again and again.
  // Memory comes from a pool that serves captures alone, and keeps it until it is closed.
  Status (*open_pool)(void** pool);
  void (*close_pool)(void* pool);
  Status (*begin_capture)(void* stream, void* pool);
  Status (*end_capture)(void* stream, void** graph);
  // Before that gives words[0] and words[1], on the GPU, these values, where there are words.
  Status (*launch_graph)(void* graph, void* stream, std::uint64_t* words, std::uint64_t first, std::uint64_t second);
  void (*drop_graph)(void* graph);

  // What the chip can do, for benchmarks to compare with: a walk over memory that reads x and writes y (each may be
  // null), multiply-adds in registers (how many operations they are), and a kernel that does nothing.
  Status (*walk_memory)(const void* x, void* y, std::size_t bytes, void* stream);
  Status (*multiply_adds)(bool by_tensor_cores, Index rounds, void* stream, double* operations);
  Status (*launch_nothing)(void* stream);
};

// The one function of the library, dd2424_open_device: offers its services and its tables of kernels (DeviceTables of
// core/device_tables.h). Answers null, or why there is no GPU to offer. `contracts` is a hash of the headers that both
// sides were compiled with.
using OpenDevice = const char*(const char* contracts, DeviceServices* services, void* tables);

void open_device(const std::string& library);           // throws RuntimeError with what is missing
const DeviceServices& device_services(const char* op);  // throws RuntimeError where no GPU is open

namespace detail {
extern bool device_is_open;
extern __attribute__((tls_model("initial-exec"))) thread_local void* current_stream;
extern __attribute__((tls_model("initial-exec"))) thread_local bool is_capturing;
}  // namespace detail
inline bool device_is_open() { return detail::device_is_open; }
// The stream that this thread's kernels and copies run on; null is CUDA's default stream.
inline void* current_stream() { return detail::current_stream; }
inline void set_current_stream(void* stream) { detail::current_stream = stream; }
// Does this thread write what it asks of the GPU into a graph?
inline bool is_capturing() { return detail::is_capturing; }
void check_not_capturing(const char* op, const char* what);  // refuses what a graph can't hold

class StreamWalk {  // runs on one stream after the other, each behind the one before; ends on the one it began on
 public:
  ~StreamWalk() {
    if (current_stream() != began_) leave();
  }
  void go_on(void* stream) {
    if (stream != current_stream()) [[unlikely]]
      move(stream);
  }

 private:
  void move(void* stream);
  void leave() noexcept;
  void* began_ = current_stream();
};

// Memory of either device.
void* allocate_on(Device device, std::size_t bytes);
void release_on(Device device, void* block, std::size_t bytes) noexcept;
void* allocate_pinned(std::size_t bytes);  // of the host's, for copies that need not be waited for
void release_pinned(void* block) noexcept;
// Between two devices, or within the host; the bytes do not overlap. `is_pinned`: the host's are of a pinned block, and
// the copy may not be done when this returns.
void copy_bytes(Device to, void* y, Device from, const void* x, std::size_t bytes, bool is_pinned = false);
[[noreturn]] void throw_device_error(const char* op);

}  // namespace dd2424
