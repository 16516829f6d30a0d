#include "storage/schema.h"

#include <algorithm>
#include <charconv>
#include <system_error>

#include <fmt/core.h>

#include "base/log.h"

namespace harrier {

namespace {

constexpr Logger kLog("storage");
constexpr std::string_view kTitle = "harrier store\n";

// Takes "<name> <number>\n" off the front of `text`.
std::optional<std::uint32_t> take_number(std::string_view& text, std::string_view name) {
  if (!text.starts_with(name)) return std::nullopt;
  text.remove_prefix(name.size());
  if (!text.starts_with(' ')) return std::nullopt;
  text.remove_prefix(1);
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (!text.starts_with('\n')) return std::nullopt;
  text.remove_prefix(1);
  return number;
}

}  // namespace

std::string to_text(const StoreFormat& format) {
  return fmt::format("{}format {}\nmin_reader {}\n", kTitle, format.format, format.min_reader);
}

std::optional<StoreFormat> parse_store_format(std::string_view text) {
  if (!text.starts_with(kTitle)) return std::nullopt;
  text.remove_prefix(kTitle.size());
  const auto format = take_number(text, "format");
  const auto min_reader = take_number(text, "min_reader");
  if (!format || !min_reader) return std::nullopt;
  return StoreFormat{*format, *min_reader};
}

Result<std::optional<StoreFormat>, StoreError> read_store_format(const DataDir& directory) {
  const std::string path = directory.file(kFormatFile);
  if (!directory.disk().exists(path)) {
    // A new store has it before its database, a copy has it when all else is there.
    const auto names = directory.disk().names_in(directory.path());
    if (!names) return fail(names.error());
    const auto database = std::find_if(names->begin(), names->end(), [](const std::string& name) {
      return name == "db" || name.starts_with("db.");
    });
    if (database == names->end()) return std::nullopt;
    return fail(StoreError{StoreError::Kind::corruption,
                           fmt::format("{} is missing beside {}: if this is a backup, it was not "
                                       "finished; restore another or use another data_dir",
                                       path, *database)});
  }
  const auto text = directory.disk().read(path);
  if (!text) return fail(text.error());
  const std::optional<StoreFormat> format = parse_store_format(*text);
  if (!format) {
    return fail(StoreError{StoreError::Kind::corruption,
                           fmt::format("{} does not tell a store format; restore it", path)});
  }
  if (format->min_reader > kCurrentFormat.format) {
    return fail(StoreError{
        StoreError::Kind::newer_format,
        fmt::format("data directory {} has store format {}, this harrierd reads up to {}: start a "
                    "newer harrierd",
                    directory.path(), format->format, kCurrentFormat.format)});
  }
  return format;
}

Result<void, StoreError> write_store_format(const DataDir& directory, const StoreFormat& format) {
  return directory.disk().replace(directory.file(kFormatFile), to_text(format));
}

std::span<const Migration> migrations() {
  return {};
}

Result<void, StoreError> migrate(const DataDir& directory, const StoreFormat& found,
                                 const Columns& columns, std::span<const Migration> steps) {
  for (const Migration& step : steps) {
    if (step.from < found.format) continue;
    kLog.info("store format {} to {}: {}", step.from, step.from + 1, step.what);
    if (auto done = step.run(columns); !done) return done;
    const StoreFormat reached{.format = step.from + 1, .min_reader = step.from + 1};
    if (auto noted = write_store_format(directory, reached); !noted) return noted;
  }
  return {};
}

}  // namespace harrier
