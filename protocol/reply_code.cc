#include "protocol/reply_code.h"

#include <cstddef>

namespace harrier {

namespace {

enum class Severity : std::uint8_t {
  soft,
  hard,
};

struct ReplyCodeRow {
  std::string_view name;
  ReplyCode code;
  Severity severity;
};

constexpr ReplyCodeRow kReplyCodes[] = {
    {"CONTENT_TOO_LARGE", ReplyCode::content_too_large, Severity::soft},
    {"NO_ROUTE", ReplyCode::no_route, Severity::soft},
    {"NO_CONSUMERS", ReplyCode::no_consumers, Severity::soft},
    {"CONNECTION_FORCED", ReplyCode::connection_forced, Severity::hard},
    {"INVALID_PATH", ReplyCode::invalid_path, Severity::hard},
    {"ACCESS_REFUSED", ReplyCode::access_refused, Severity::soft},
    {"NOT_FOUND", ReplyCode::not_found, Severity::soft},
    {"RESOURCE_LOCKED", ReplyCode::resource_locked, Severity::soft},
    {"PRECONDITION_FAILED", ReplyCode::precondition_failed, Severity::soft},
    {"FRAME_ERROR", ReplyCode::frame_error, Severity::hard},
    {"SYNTAX_ERROR", ReplyCode::syntax_error, Severity::hard},
    {"COMMAND_INVALID", ReplyCode::command_invalid, Severity::hard},
    {"CHANNEL_ERROR", ReplyCode::channel_error, Severity::hard},
    {"UNEXPECTED_FRAME", ReplyCode::unexpected_frame, Severity::hard},
    {"RESOURCE_ERROR", ReplyCode::resource_error, Severity::hard},
    {"NOT_ALLOWED", ReplyCode::not_allowed, Severity::hard},
    {"NOT_IMPLEMENTED", ReplyCode::not_implemented, Severity::hard},
    {"INTERNAL_ERROR", ReplyCode::internal_error, Severity::hard},
};

constexpr const ReplyCodeRow& row_of(ReplyCode code) {
  for (const ReplyCodeRow& row : kReplyCodes) {
    if (row.code == code) return row;
  }
  return kReplyCodes[std::size(kReplyCodes) - 1];
}

constexpr std::size_t kShortStringMax = 255;
constexpr std::string_view kCutMark = "...";

}  // namespace

std::string_view reply_name(ReplyCode code) {
  return row_of(code).name;
}

bool is_connection_error(ReplyCode code) {
  return row_of(code).severity == Severity::hard;
}

std::string reply_text(const ProtocolError& error) {
  std::string text(reply_name(error.code));
  if (!error.text.empty()) text.append(" - ").append(error.text);
  if (text.size() > kShortStringMax) {
    // By octets, as RabbitMQ cuts, even if that splits a UTF-8 character.
    text.resize(kShortStringMax - kCutMark.size());
    text += kCutMark;
  }
  return text;
}

}  // namespace harrier
