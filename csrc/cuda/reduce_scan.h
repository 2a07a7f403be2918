#pragma once
#include "core/reduce.h"

// Running sums and products (reduce_scan.cu), for every type but bool.
namespace dd2424::cuda {

template <class T>
Status cumsum(const Context& context, const Scan<T>& a);
template <class T>
Status cumprod(const Context& context, const Scan<T>& a);

}  // namespace dd2424::cuda
