#pragma once
#include <string>

#include "core/allocator.h"
#include "core/types.h"

// The GPU, as the host sees it: this table of services, and the tables of kernels in core/table.h. The CUDA library
// fills both in when it is opened; it is a plain shared library, and nothing else stands between the two.
namespace dd2424 {

struct DeviceServices {
  int (*count)();               // of GPUs; the first is the one that is used
  const char* (*name)();        // of the one in use
  int (*capability)();          // its compute capability, 90 for 9.0
  const char* (*runtime)();     // what runs the kernels: "CUDA 13.0"
  const char* (*last_error)();  // why the last call answered device_error
  Status (*synchronize)();      // waits for all that was asked of the GPU
  MemoryStats (*memory)();
  void (*reset_peak_memory)();
  void (*empty_cache)();
  Status (*total_memory)(std::size_t* free_bytes, std::size_t* total_bytes);
  // A block serves the stream it was made for: what comes next on that stream may have it as soon as it is released.
  Status (*allocate)(std::size_t bytes, void* stream, void** block);
  void (*release)(void* block);
  // Copies in the stream's order. The host's memory may be changed, and be read, as soon as they return.
  Status (*from_host)(void* y, const void* x, std::size_t bytes, void* stream);
  Status (*to_host)(void* y, const void* x, std::size_t bytes, void* stream);
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
}  // namespace detail
inline bool device_is_open() { return detail::device_is_open; }
// The stream that this thread's kernels and copies run on; null is CUDA's default stream.
inline void* current_stream() { return detail::current_stream; }

// Memory of either device.
void* allocate_on(Device device, std::size_t bytes);
void release_on(Device device, void* block, std::size_t bytes) noexcept;
// Between two devices, or within the host; the bytes do not overlap.
void copy_bytes(Device to, void* y, Device from, const void* x, std::size_t bytes);
[[noreturn]] void throw_device_error(const char* op);

}  // namespace dd2424
