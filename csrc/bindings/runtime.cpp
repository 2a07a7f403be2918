#include "bindings/python.h"
#include "core/allocator.h"
#include "core/blocking.h"
#include "core/isa.h"
#include "core/ladder.h"
#include "core/parallel.h"

// The machine underneath: threads, ISA levels, memory, counts.
namespace dd2424 {

using namespace py::literals;

py::dict stats_dict(const MemoryStats& stats) {
  return py::dict("in_use_bytes"_a = stats.in_use_bytes, "peak_bytes"_a = stats.peak_bytes,
                  "reserved_bytes"_a = stats.reserved_bytes, "allocations"_a = stats.allocations,
                  "system_allocations"_a = stats.system_allocations);
}

void bind_runtime(py::module_& m) {
  start_isa();
  m.def("get_num_threads", &num_threads);
  m.def("set_num_threads", &set_num_threads, "threads"_a);
  m.def("get_isa", [] { return std::string(isa_name(current_isa())); });
  m.def("set_isa", [](const std::string& name) { set_isa(name); }, "name"_a);
  m.def("supported_isas", &supported_isas);
  m.def("get_kernels", [] { return std::string(kRungNames[static_cast<std::size_t>(current_rung())]); });
  m.def("set_kernels", [](const std::string& name) { set_rung(name); }, "name"_a);
  m.def("kernel_count", &ops::kernel_count);
  m.def("empty_cache", &empty_cache);
  m.def("reset_peak_memory", &reset_peak_memory);
  m.def("memory_stats", [] { return stats_dict(memory_stats()); });
  m.attr("compiler") = __VERSION__;
  host_lock.unlock = [] { return static_cast<void*>(PyGILState_Check() ? PyEval_SaveThread() : nullptr); };
  host_lock.lock = [](void* state) { PyEval_RestoreThread(static_cast<PyThreadState*>(state)); };
}

}  // namespace dd2424
