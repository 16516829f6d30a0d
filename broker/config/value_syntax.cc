#include "broker/config/value_syntax.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <utility>

namespace harrier {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return out;
}

std::optional<std::uint64_t> unit_factor(std::string_view unit) {
  if (unit.empty()) return 1;
  constexpr std::string_view kPrefixes = "kmgtp";
  const std::string name = lower(unit);
  const std::size_t power = kPrefixes.find(name.front());
  if (power == std::string_view::npos) return std::nullopt;
  const std::string_view rest = std::string_view(name).substr(1);
  const bool binary = rest.empty() || rest == "i" || rest == "ib";
  if (!binary && rest != "b") return std::nullopt;
  std::uint64_t factor = 1;
  for (std::size_t i = 0; i <= power; ++i)
    factor *= binary ? 1024 : 1000;
  return factor;
}

bool is_ip_address(const std::string& text) {
  std::array<unsigned char, sizeof(in6_addr)> address{};
  return inet_pton(AF_INET, text.c_str(), address.data()) == 1 ||
         inet_pton(AF_INET6, text.c_str(), address.data()) == 1;
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return port;
}

constexpr std::array<std::pair<std::string_view, LogLevel>, 9> kLevels{{
    {"debug", LogLevel::debug},
    {"info", LogLevel::info},
    {"warning", LogLevel::warning},
    {"error", LogLevel::error},
    {"critical", LogLevel::critical},
    {"none", LogLevel::none},
    {"notice", LogLevel::info},
    {"alert", LogLevel::critical},
    {"emergency", LogLevel::critical},
}};

}  // namespace

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t digits = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), digits);
  if (error != std::errc()) return std::nullopt;
  const auto used = static_cast<std::size_t>(end - text.data());
  const std::optional<std::uint64_t> factor = unit_factor(text.substr(used));
  if (!factor || digits > std::numeric_limits<std::uint64_t>::max() / *factor) return std::nullopt;
  return digits * *factor;
}

std::optional<bool> parse_flag(std::string_view text) {
  const std::string word = lower(text);
  if (word == "true" || word == "on" || word == "yes") return true;
  if (word == "false" || word == "off" || word == "no") return false;
  return std::nullopt;
}

std::optional<LogLevel> parse_log_level(std::string_view text) {
  for (const auto& [name, level] : kLevels) {
    if (name == text) return level;
  }
  return std::nullopt;
}

std::string_view to_string(LogLevel level) {
  for (const auto& [name, candidate] : kLevels) {
    if (candidate == level) return name;
  }
  return "none";
}

std::optional<ListenerAddress> parse_listener(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  const bool port_only = colon == std::string_view::npos;
  const std::optional<std::uint16_t> port = parse_port(port_only ? text : text.substr(colon + 1));
  if (!port) return std::nullopt;
  if (port_only) return ListenerAddress{"", *port};

  std::string_view host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  std::string address(host);
  if (!is_ip_address(address)) return std::nullopt;
  return ListenerAddress{std::move(address), *port};
}

std::string to_string(const ListenerAddress& listener) {
  std::string port = std::to_string(listener.port);
  if (listener.address.empty()) return port;
  if (listener.address.find(':') == std::string::npos) return listener.address + ":" + port;
  return "[" + listener.address + "]:" + port;
}

}  // namespace harrier
