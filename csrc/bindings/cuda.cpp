#include "bindings/python.h"
#include "core/device.h"

// The GPU: opening its library, and what there is to ask about it. Where the library is looked for: dd2424/cuda.py.
namespace dd2424 {

using namespace py::literals;

Device load_device(const char* op, py::handle device) {
  if (device.is_none()) return Device::cpu;
  if (const std::string name = py::str(device); name == "cpu") return Device::cpu;
  const py::object place = py::module_::import("dd2424._device").attr("device")(device);  // refuses what is none
  if (py::cast<std::string>(place.attr("type")) == "cpu") return Device::cpu;
  if (!device_is_open()) py::module_::import("dd2424.cuda").attr("require")(op, place);
  const int index = place.attr("index").is_none() ? 0 : py::cast<int>(place.attr("index"));
  check(index == 0, op, ": device must be cuda:0, the one GPU that is used, got cuda:", index);
  return Device::cuda;
}

void bind_cuda(py::module_& m) {
  m.def("cuda_open", &open_device, "library"_a);
  m.def("cuda_is_open", &device_is_open);
  m.def("cuda_properties", [] {
    const DeviceServices& gpu = device_services("cuda_properties");
    std::size_t free_bytes = 0, total_bytes = 0;
    if (gpu.total_memory(&free_bytes, &total_bytes) != Status::ok) throw_device_error("cuda_properties");
    return py::dict("count"_a = gpu.count(), "name"_a = gpu.name(), "capability"_a = gpu.capability(),
                    "multiprocessors"_a = gpu.multiprocessors(), "runtime"_a = gpu.runtime(),
                    "free_bytes"_a = free_bytes, "total_bytes"_a = total_bytes);
  });
  m.def("cuda_synchronize", [] {
    check_not_capturing("synchronize", "the GPU must not be waited for");
    Status status;
    {
      const py::gil_scoped_release unlocked;
      status = device_services("synchronize").synchronize();
    }
    if (status != Status::ok) throw_device_error("synchronize");
  });
  m.def(
      "cuda_walk_memory",
      [](const Tensor& x, const Tensor& y) {
        const DeviceServices& gpu = device_services("cuda_walk_memory");
        const auto bytes = [](const Tensor& t) { return static_cast<std::size_t>(t.numel() * item_bytes(t.dtype())); };
        for (const Tensor& t : {x, y})
          check(!t.defined() || (t.device() == Device::cuda && t.is_contiguous() && bytes(t) % 16 == 0),
                "cuda_walk_memory: tensors must be contiguous, on a GPU, and of whole 16 bytes");
        check(x.defined() || y.defined(), "cuda_walk_memory: one of x and y must be given");
        check(!x.defined() || !y.defined() || bytes(x) == bytes(y), "cuda_walk_memory: x and y must be of one size");
        const Status status =
            gpu.walk_memory(x.data<void>(), y.data<void>(), bytes(x.defined() ? x : y), current_stream());
        if (status != Status::ok) throw_device_error("cuda_walk_memory");
      },
      "x"_a, "y"_a);
  m.def(
      "cuda_multiply_adds",
      [](bool by_tensor_cores, Index rounds) {
        double operations = 0;
        check(rounds >= 0 && rounds <= 1 << 24, "cuda_multiply_adds: rounds must be from 0 to 2^24, got ", rounds);
        if (device_services("cuda_multiply_adds")
                .multiply_adds(by_tensor_cores, rounds, current_stream(), &operations) != Status::ok)
          throw_device_error("cuda_multiply_adds");
        return operations;
      },
      "by_tensor_cores"_a, "rounds"_a);
  m.def("cuda_launch_nothing", [] {
    if (device_services("cuda_launch_nothing").launch_nothing(current_stream()) != Status::ok)
      throw_device_error("cuda_launch_nothing");
  });
  m.def("cuda_memory_stats", [] { return stats_dict(device_services("memory_stats").memory()); });
  m.def("cuda_reset_peak_memory", [] { device_services("reset_peak_memory_stats").reset_peak_memory(); });
  m.def("cuda_empty_cache", [] { device_services("empty_cache").empty_cache(); });
}

}  // namespace dd2424
