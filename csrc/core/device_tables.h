#pragma once
#include <tuple>

#include "core/activation.h"
#include "core/attention.h"
#include "core/conv.h"
#include "core/copy.h"
#include "core/elementwise.h"
#include "core/gemm.h"
#include "core/index.h"
#include "core/loss.h"
#include "core/norm.h"
#include "core/optim.h"
#include "core/pool.h"
#include "core/random.h"
#include "core/reduce.h"
#include "core/resample.h"
#include "core/rnn.h"
#include "core/sort.h"

// Every table of kernels that a device may have; null for what it does not have. The library that opens a device fills
// one in, std::get<const CopyKernels*>(tables) = ..., and the host keeps what it finds.
namespace dd2424 {

namespace detail {
template <template <class> class Table, class... T>
using TablesOf = std::tuple<const Table<T>*...>;
template <template <class> class Table>
using FloatTables = TablesOf<Table, float, double, bfloat16, float16>;
template <template <class> class Table>
using NumberTables = decltype(std::tuple_cat(
    FloatTables<Table>(), TablesOf<Table, std::int64_t, std::int32_t, std::int16_t, std::int8_t, std::uint8_t>()));
template <template <class> class Table>
using AllTables = decltype(std::tuple_cat(NumberTables<Table>(), TablesOf<Table, bool>()));

template <class... Lists>
using Joined = decltype(std::tuple_cat(Lists()...));
}  // namespace detail

using DeviceTables = detail::Joined<
    std::tuple<const Ladder<GemmKernels<float>>*, const Ladder<GemmKernels<double>>*>,
    std::tuple<const CopyKernels*, const IndexKernels*, const RandomIntegerKernels*, const TakeKernels*>,
    detail::AllTables<ElementwiseKernels>, detail::AllTables<ReduceKernels>, detail::NumberTables<IndexAddKernels>,
    detail::NumberTables<PoolKernels>, detail::FloatTables<ActivationKernels>, detail::FloatTables<ConvKernels>,
    detail::FloatTables<GemmKernels>, detail::FloatTables<LossKernels>, detail::FloatTables<NormKernels>,
    detail::FloatTables<OptimKernels>, detail::FloatTables<RandomKernels>, detail::FloatTables<ResampleKernels>,
    detail::FloatTables<AttentionKernels>, detail::TablesOf<RnnKernels, float, double>,
    detail::TablesOf<SortKernels, float, double, std::int64_t, std::int32_t>>;

}  // namespace dd2424
