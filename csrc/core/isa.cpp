#include "core/isa.h"

#include <array>
#include <cstdlib>

#include "core/error.h"

namespace dd2424 {
namespace {

constexpr std::array<std::string_view, 4> kNames{"generic", "avx2", "avx512", "avx512_bf16"};

bool supported(Isa isa) {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::generic: return true;
    case Isa::avx2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::avx512:
      return supported(Isa::avx2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    case Isa::avx512_bf16: return supported(Isa::avx512) && __builtin_cpu_supports("avx512bf16");
  }
#endif
  return isa == Isa::generic;
}

Isa find(std::string_view name) {
  for (int i = 0; i < kIsaLevels; ++i) {
    if (kNames[i] != name) continue;
    check<ValueError>(supported(Isa(i)), "set_isa: name must be a level this processor has, one of ", supported_isas(),
                      ", got '", name, "'");
    return Isa(i);
  }
  throw ValueError(message("set_isa: name must be one of ", supported_isas(), ", got '", name, "'"));
}

Isa first_isa() {
  if (const char* name = std::getenv("DD2424_ISA"); name && *name) return find(name);
  Isa best = Isa::generic;
  for (int i = 0; i < kIsaLevels; ++i)
    if (supported(Isa(i))) best = Isa(i);
  return best;
}

}  // namespace

// The environment is read when the host calls start_isa(): an error in it is then the host's to report.
std::atomic<Isa> detail::isa_level{Isa::generic};

void start_isa() { detail::isa_level.store(first_isa(), std::memory_order_relaxed); }

void set_isa(std::string_view name) { detail::isa_level.store(find(name), std::memory_order_relaxed); }

std::string_view isa_name(Isa isa) { return kNames[static_cast<std::size_t>(isa)]; }

std::vector<std::string> supported_isas() {
  std::vector<std::string> names;
  for (int i = 0; i < kIsaLevels; ++i)
    if (supported(Isa(i))) names.emplace_back(kNames[i]);
  return names;
}

}  // namespace dd2424
