#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace harrier {

// Copy of `properties`, which must parse, with the header x-delivery-count: how often the message
// was delivered in vain, as quorum queues of RabbitMQ tell it.
Buffer with_delivery_count(ByteView properties, std::uint32_t count);

}  // namespace harrier
