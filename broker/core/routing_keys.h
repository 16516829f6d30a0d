#pragma once

#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "protocol/field_table.h"
#include "protocol/reply_code.h"

namespace harrier {

// Sender-selected distribution, RabbitMQ's extension: the headers CC and BCC are arrays of further
// routing keys. CC stays on the message; BCC is taken off before anybody sees it.

// Fills `keys` (a reused list) with `routing_key` and the strings of CC, then of BCC; elements of
// other types are ignored. A CC or BCC that is no array: PRECONDITION_FAILED. The keys borrow the
// octets of `headers`.
Result<void, ProtocolError> collect_routing_keys(std::string_view routing_key,
                                                 const TableView& headers,
                                                 std::vector<std::string_view>& keys);

bool has_bcc(const TableView& headers);

// Copy of `properties` (flags and fields, which must parse and have the header BCC) without BCC;
// the headers are sorted by key, as RabbitMQ sends headers it has edited.
Buffer without_bcc(ByteView properties);

}  // namespace harrier
