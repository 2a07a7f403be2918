#include "core/ladder.h"

#include "core/error.h"

namespace dd2424 {

__attribute__((tls_model("initial-exec"))) thread_local Rung detail::current_rung = Rung::fast;

void set_rung(std::string_view name) {
  for (std::size_t i = 0; i < kRungNames.size(); ++i) {
    if (kRungNames[i] == name) {
      detail::current_rung = Rung(i);
      return;
    }
  }
  throw ValueError(message("kernels: name must be naive, blocked, vectorised, threaded or fast, got '", name, "'"));
}

}  // namespace dd2424
