#include "core/device.h"

#include <dlfcn.h>

#include <cstring>

#include "core/device_tables.h"
#include "core/error.h"
#include "core/table.h"

namespace dd2424 {

__attribute__((tls_model("initial-exec"))) thread_local void* detail::current_stream = nullptr;
__attribute__((tls_model("initial-exec"))) thread_local bool detail::is_capturing = false;

bool detail::device_is_open = false;

namespace {

DeviceServices services;

OpenDevice* find_open(const std::string& library) {
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);  // never closed: memory of its may live on
  if (!handle) {
    const char* why = dlerror();
    throw RuntimeError(message("cuda: the library can't be loaded: ", why ? why : library.c_str()));
  }
  void* symbol = dlsym(handle, "dd2424_open_device");
  check(symbol != nullptr, "cuda: library must be dd2424's, got ", library);
  return reinterpret_cast<OpenDevice*>(symbol);
}

void check_ok(const char* op, Status status) {
  if (status != Status::ok) throw_device_error(op);
}

}  // namespace

void open_device(const std::string& library) {
  check(!device_is_open(), "cuda: a GPU is in use already (", device_is_open() ? services.name() : "", ")");
  DeviceTables tables{};
  DeviceServices offered{};
  const char* why = find_open(library)(DD2424_CONTRACTS, &offered, &tables);
  check(why == nullptr, "cuda: ", why ? why : "");
  services = offered;
  std::apply(
      [](auto*... table) { ((cuda_table<std::remove_const_t<std::remove_pointer_t<decltype(table)>>> = table), ...); },
      tables);
  detail::device_is_open = true;
}

const DeviceServices& device_services(const char* op) {
  check(device_is_open(), op, ": no GPU is in use; see dd2424.cuda.why_not()");
  return services;
}

void throw_device_error(const char* op) {
  throw RuntimeError(
      message(op, ": the GPU reports an error: ", device_is_open() ? services.last_error() : "it is not open"));
}

void throw_missing_kernels(const char* function) {  // ... [with Table = dd2424::GemmKernels<float>]
  const std::string_view text = function, mark = "Table = ";
  const auto begin = text.find(mark) + mark.size();
  throw NotImplementedError(message("cuda: this operation has no kernels for GPUs yet (",
                                    text.substr(begin, text.find_first_of(";]", begin) - begin),
                                    "); move its tensors with .cpu()"));
}

void throw_float16_on_cpu() {
  throw RuntimeError("float16 is for storage on the CPU: convert it with .float() or .bfloat16() first");
}

void* allocate_on(Device device, std::size_t bytes) {
  if (device == Device::cpu) return allocate(bytes);
  void* block = nullptr;
  if (device_services("allocate").allocate(bytes, current_stream(), &block) == Status::ok) return block;
  std::size_t free_bytes = 0, total_bytes = 0;
  services.total_memory(&free_bytes, &total_bytes);
  const MemoryStats memory = services.memory();
  throw OutOfMemoryError(message("allocate: the GPU has no memory for ", bytes, " bytes (", free_bytes, " of ",
                                 total_bytes, " are free, tensors hold ", memory.in_use_bytes, ", ",
                                 memory.reserved_bytes - memory.in_use_bytes,
                                 " are kept for reuse): ", services.last_error()));
}

void release_on(Device device, void* block, std::size_t bytes) noexcept {
  if (device == Device::cpu) return release(block, bytes);
  services.release(block, current_stream());
}

void* allocate_pinned(std::size_t bytes) {
  void* block = nullptr;
  if (device_services("pin_memory").allocate_pinned(bytes, &block) == Status::ok) return block;
  throw RuntimeError(
      message("pin_memory: the host has no pinned memory for ", bytes, " bytes: ", services.last_error()));
}
void release_pinned(void* block) noexcept { services.release_pinned(block); }

void check_not_capturing(const char* op, const char* what) {
  check(!is_capturing(), op, ": ", what, " while a graph is captured: nothing is computed before it is replayed");
}

void copy_bytes(Device to, void* y, Device from, const void* x, std::size_t bytes, bool is_pinned) {
  if (bytes == 0) return;
  if (to == Device::cpu && from == Device::cpu) {
    std::memcpy(y, x, bytes);
    return;
  }
  check_not_capturing("copy", "between the host and the GPU there must be no copy");
  const DeviceServices& gpu = device_services("copy");
  if (to == Device::cpu) {
    check_ok("copy", (is_pinned ? gpu.to_pinned : gpu.to_host)(y, x, bytes, current_stream()));
  } else {
    check(from == Device::cpu, "copy: within a GPU kernels copy");
    check_ok("copy", (is_pinned ? gpu.from_pinned : gpu.from_host)(y, x, bytes, current_stream()));
  }
}

void StreamWalk::move(void* stream) {
  if (is_capturing()) return;  // a graph has one stream, whichever its inputs were made on
  if (device_is_open()) check_ok("backward", services.order(current_stream(), stream));
  set_current_stream(stream);
}
void StreamWalk::leave() noexcept {
  services.order(current_stream(), began_);
  set_current_stream(began_);
}

}  // namespace dd2424
