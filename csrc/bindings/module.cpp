#include "bindings/python.h"

namespace dd2424 {

void bind_activation(py::module_& m);
void bind_arguments(py::module_& m);
void bind_attention(py::module_& m);
void bind_autograd(py::module_& m);
void bind_conv(py::module_& m);
void bind_copy(py::module_& m);
void bind_cuda(py::module_& m);
void bind_cuda_streams(py::module_& m);
void bind_dlpack(py::module_& m);
void bind_elementwise(py::module_& m);
void bind_function(py::module_& m);
void bind_index(py::module_& m);
void bind_loss(py::module_& m);
void bind_machine(py::module_& m);
void bind_gemm(py::module_& m);
void bind_norm(py::module_& m);
void bind_numpy(py::module_& m);
void bind_optim(py::module_& m);
void bind_pool(py::module_& m);
void bind_random(py::module_& m);
void bind_reduce(py::module_& m);
void bind_resample(py::module_& m);
void bind_rnn(py::module_& m);
void bind_runtime(py::module_& m);
void bind_shape(py::module_& m);
void bind_sort(py::module_& m);

}  // namespace dd2424

PYBIND11_MODULE(_core, m) {
  using namespace dd2424;
  m.doc() = "The compiled part of dd2424: tensors, the tape and the kernels.";
  pybind11::register_exception<OutOfMemoryError>(m, "OutOfMemoryError", PyExc_RuntimeError);
  pybind11::register_local_exception_translator([](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const pybind11::builtin_exception&) { throw; } catch (const ValueError& e) {
      PyErr_SetString(PyExc_ValueError, e.what());
    } catch (const TypeError& e) { PyErr_SetString(PyExc_TypeError, e.what()); } catch (const IndexError& e) {
      PyErr_SetString(PyExc_IndexError, e.what());
    } catch (const NotImplementedError& e) { PyErr_SetString(PyExc_NotImplementedError, e.what()); }
  });
  bind_arguments(m);
  make_tensor_type(m);
  bind_numpy(m);
  bind_runtime(m);
  bind_cuda(m);
  bind_cuda_streams(m);
  bind_dlpack(m);
  bind_elementwise(m);
  bind_reduce(m);
  bind_shape(m);
  bind_attention(m);
  bind_conv(m);
  bind_copy(m);
  bind_gemm(m);
  bind_index(m);
  bind_random(m);
  bind_loss(m);
  bind_machine(m);
  bind_activation(m);
  bind_norm(m);
  bind_optim(m);
  bind_pool(m);
  bind_resample(m);
  bind_rnn(m);
  bind_sort(m);
  bind_autograd(m);
  bind_function(m);
}
