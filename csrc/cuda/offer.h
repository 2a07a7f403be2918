#pragma once
#include "core/device.h"
#include "core/device_tables.h"

// Each file says what it has to offer the host; library.cu asks them all.
namespace dd2424::cuda {

template <class Table>
void offer(DeviceTables& tables, const Table& table) {
  std::get<const Table*>(tables) = &table;
}

void offer_activation(DeviceTables& tables);
void offer_attention(DeviceTables& tables);
void offer_conv(DeviceTables& tables);
void offer_copy(DeviceTables& tables);
void offer_elementwise(DeviceTables& tables);
void offer_gemm(DeviceTables& tables);
void offer_gemm_ladder(DeviceTables& tables);
void offer_index(DeviceTables& tables);
void offer_index_add(DeviceTables& tables);
void offer_loss(DeviceTables& tables);
void offer_norm(DeviceTables& tables);
void offer_optim(DeviceTables& tables);
void offer_pool(DeviceTables& tables);
void offer_random(DeviceTables& tables);
void offer_reduce(DeviceTables& tables);
void offer_resample(DeviceTables& tables);
void offer_rnn(DeviceTables& tables);
void offer_sort(DeviceTables& tables);
void offer_tensor_attention(DeviceTables& tables);
void offer_graphs(DeviceServices& services);
void offer_machine(DeviceServices& services);
void offer_memory(DeviceServices& services);
void offer_pinned(DeviceServices& services);
void offer_streams(DeviceServices& services);

void start_memory();  // once, before the first block is asked for
const char* last_error();

}  // namespace dd2424::cuda
