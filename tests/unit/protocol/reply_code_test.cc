#include "protocol/reply_code.h"

#include <doctest/doctest.h>

namespace harrier {

TEST_SUITE("reply codes") {
  TEST_CASE("every code has its name and its severity") {
    struct Row {
      int code;
      const char* name;
      bool ends_connection;
    };

    for (const Row& row : {
             Row{311, "CONTENT_TOO_LARGE", false},   Row{312, "NO_ROUTE", false},
             Row{313, "NO_CONSUMERS", false},        Row{320, "CONNECTION_FORCED", true},
             Row{402, "INVALID_PATH", true},         Row{403, "ACCESS_REFUSED", false},
             Row{404, "NOT_FOUND", false},           Row{405, "RESOURCE_LOCKED", false},
             Row{406, "PRECONDITION_FAILED", false}, Row{501, "FRAME_ERROR", true},
             Row{502, "SYNTAX_ERROR", true},         Row{503, "COMMAND_INVALID", true},
             Row{504, "CHANNEL_ERROR", true},        Row{505, "UNEXPECTED_FRAME", true},
             Row{506, "RESOURCE_ERROR", true},       Row{530, "NOT_ALLOWED", true},
             Row{540, "NOT_IMPLEMENTED", true},      Row{541, "INTERNAL_ERROR", true},
             Row{999, "INTERNAL_ERROR", true},
         }) {
      CAPTURE(row.code);
      const auto code = static_cast<ReplyCode>(row.code);
      CHECK(reply_name(code) == row.name);
      CHECK(is_connection_error(code) == row.ends_connection);
    }
  }

  TEST_CASE("the reply text is name, dash, text; or the name alone") {
    CHECK(reply_text({ReplyCode::not_found, "no queue 'q' in vhost '/'"}) ==
          "NOT_FOUND - no queue 'q' in vhost '/'");
    CHECK(reply_text({ReplyCode::internal_error, ""}) == "INTERNAL_ERROR");
  }

  TEST_CASE("a reply text is cut to 255 octets, the last three being dots") {
    const std::string_view prefix = "NOT_FOUND - ";
    const std::string just_fits = reply_text({ReplyCode::not_found, std::string(255 - 12, 'x')});
    CHECK(just_fits.size() == 255);
    CHECK(just_fits.ends_with('x'));
    const std::string cut = reply_text({ReplyCode::not_found, std::string(255 - 11, 'x')});
    CHECK(cut == std::string(prefix) + std::string(252 - 12, 'x') + "...");
  }
}

}  // namespace harrier
