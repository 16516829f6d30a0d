#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/method_id.h"

namespace harrier {

// Reply codes of AMQP 0-9-1 (spec constants of class soft-error and hard-error).
enum class ReplyCode : std::uint16_t {
  content_too_large = 311,
  no_route = 312,
  no_consumers = 313,
  connection_forced = 320,
  invalid_path = 402,
  access_refused = 403,
  not_found = 404,
  resource_locked = 405,
  precondition_failed = 406,
  frame_error = 501,
  syntax_error = 502,
  command_invalid = 503,
  channel_error = 504,
  unexpected_frame = 505,
  resource_error = 506,
  not_allowed = 530,
  not_implemented = 540,
  internal_error = 541,
};

// What a peer did wrong. `text` is the part after "NAME - "; empty means that the name stands
// alone. `method` is what the close method blames; absent means the method being handled.
struct ProtocolError {
  ReplyCode code{};
  std::string text{};
  std::optional<MethodId> method{};
};

// "NOT_FOUND" and so on. A number that is no reply code gives "INTERNAL_ERROR".
std::string_view reply_name(ReplyCode code);

// Whether the code ends the connection (spec class hard-error) or only the channel (soft-error). A
// soft error raised on channel 0 ends the connection as well; that is the session's to know.
bool is_connection_error(ReplyCode code);

// "NOT_FOUND - no queue 'q' in vhost '/'", cut to the 255 octets of a short string (252 and "...").
std::string reply_text(const ProtocolError& error);

}  // namespace harrier
