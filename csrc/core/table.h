#pragma once
#include <array>

#include "core/isa.h"
#include "core/ladder.h"
#include "core/types.h"

// A family's entry points stand in a table, a struct of function pointers. Each device and each ISA level has its own.
namespace dd2424 {

// float16 is computed on GPUs alone.
template <class Table>
inline constexpr bool has_cpu_kernels = true;
template <template <class> class Table>
inline constexpr bool has_cpu_kernels<Table<float16>> = false;

namespace cpu {
namespace generic {
struct Level;
}
namespace avx2 {
struct Level;
}
namespace avx512 {
struct Level;
}
namespace avx512_bf16 {
struct Level;
}

// Defined by DD2424_TABLE in the objects compiled for the level.
template <class Table, class Level>
const Table* table_of();
}  // namespace cpu

template <class Table>
inline const Table* cuda_table = nullptr;  // set when the CUDA library is opened, where it has one
[[noreturn]] void throw_missing_kernels(const char* function);
[[noreturn]] void throw_float16_on_cpu();

namespace detail {
template <class Table>
[[gnu::cold, gnu::noinline]] const Table& cuda_kernels() {
  if constexpr (has_ladder<Table>) {
    const Rung rung = dd2424::current_rung();
    if (rung != Rung::fast && cuda_table<Ladder<Table>>)
      return *cuda_table<Ladder<Table>>->rungs[static_cast<std::size_t>(rung)];
  }
  if (!cuda_table<Table>) throw_missing_kernels(__PRETTY_FUNCTION__);
  return *cuda_table<Table>;
}
template <class Table>
const Table* bf16_table() {
  if constexpr (has_bf16_level<Table>) return cpu::table_of<Table, cpu::avx512_bf16::Level>();
  else return cpu::table_of<Table, cpu::avx512::Level>();
}
template <class Table>
inline const std::array<const Table*, kIsaLevels> cpu_tables{
    cpu::table_of<Table, cpu::generic::Level>(),
#if DD2424_ISA_LEVELS > 1
    cpu::table_of<Table, cpu::avx2::Level>(),
#endif
#if DD2424_ISA_LEVELS > 2
    cpu::table_of<Table, cpu::avx512::Level>(),
#endif
#if DD2424_ISA_LEVELS > 3
    bf16_table<Table>(),
#endif
};
template <class Table>
inline const std::array<const Table* (*)(Rung), kIsaLevels> cpu_rungs{
    cpu::rung_of<Table, cpu::generic::Level>,
#if DD2424_ISA_LEVELS > 1
    cpu::rung_of<Table, cpu::avx2::Level>,
#endif
#if DD2424_ISA_LEVELS > 2
    cpu::rung_of<Table, cpu::avx512::Level>,
#endif
#if DD2424_ISA_LEVELS > 3
    cpu::rung_of<Table, cpu::avx512::Level>,
#endif
};
}  // namespace detail

// The table for this device and, on the CPU, for the current ISA level and rung.
template <class Table>
inline const Table& kernels(Device device) {
  if (device == Device::cuda) [[unlikely]]
    return detail::cuda_kernels<Table>();
  if constexpr (has_ladder<Table>) {
    if (current_rung() != Rung::fast) [[unlikely]]
      return *detail::cpu_rungs<Table>[static_cast<std::size_t>(current_isa())](current_rung());
  }
  if constexpr (has_cpu_kernels<Table>) return *detail::cpu_tables<Table>[static_cast<std::size_t>(current_isa())];
  else throw_float16_on_cpu();
}

}  // namespace dd2424

// Makes `table` (a constexpr variable, or variable template of one type) what kernels<Table>(Device::cpu) finds here.
#define DD2424_TABLE(Table, table)                                              \
  template <>                                                                   \
  const Table* dd2424::cpu::table_of<Table, dd2424::cpu::DD2424_ISA::Level>() { \
    static constexpr Table kTable = table;                                      \
    return &kTable;                                                             \
  }
