#include "broker/admin/admin_message.h"

#include <string>

#include <doctest/doctest.h>

namespace harrier {
namespace {

TEST_SUITE_BEGIN("admin message");

TEST_CASE("a request is a command with named arguments") {
  const auto request =
      parse_admin_request(R"({"command":"backup","directory":"/a \"b\"","x":"\u00e4"})");
  REQUIRE(request.has_value());
  CHECK(request->command == "backup");
  CHECK(request->argument("directory") == "/a \"b\"");
  CHECK(request->argument("x") == "\xc3\xa4");
  CHECK(request->argument("command").empty());
  CHECK(request->argument("y").empty());
}

TEST_CASE("anything else is refused with one line") {
  const std::string deep(60'000, '[');
  for (const std::string& line :
       {std::string(), std::string("backup"), std::string("[]"), std::string("\"backup\""),
        std::string("{\"command\":\"backup\""), std::string("{}{}"), std::string("{}"),
        std::string(R"({"command":""})"), std::string(R"({"command":1})"),
        std::string(R"({"command":"backup","directory":["/a"]})"),
        std::string("{\"command\":\"\xff\"}"), std::string(3, '\0'), deep,
        R"({"command":)" + deep}) {
    CAPTURE(line.substr(0, 60));
    const auto request = parse_admin_request(line);
    REQUIRE(!request.has_value());
    CHECK(!request.error().empty());
    CHECK(request.error().find('\n') == std::string::npos);
  }
}

TEST_CASE("a reply is one line, whatever octets it tells of") {
  CHECK(to_line(AdminFields{{"directory", "/a"}, {"files", std::uint64_t{9}}, {"seconds", 0.5}}) ==
        "{\"ok\":true,\"directory\":\"/a\",\"files\":9,\"seconds\":0.5}\n");
  CHECK(to_line(fail(std::string("no\nroom \"here\""))) ==
        "{\"error\":\"no\\nroom \\\"here\\\"\"}\n");
  CHECK(to_line(fail(std::string("\xff"))) == "{\"error\":\"\xef\xbf\xbd\"}\n");
}

TEST_SUITE_END();

}  // namespace
}  // namespace harrier
