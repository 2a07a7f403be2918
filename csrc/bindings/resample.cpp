#include "ops/resample.h"

#include "bindings/python.h"

namespace dd2424 {

using namespace py::literals;

void bind_resample(py::module_& m) {
  m.def("pad", &ops::pad, "input"_a, "pad"_a, "mode"_a = "constant", "value"_a = py::none());
}

}  // namespace dd2424
