#include "protocol/properties.h"

#include <type_traits>

#include "protocol/wire_reader.h"
#include "protocol/wire_writer.h"

namespace harrier {

namespace {

// Flag of the first property. AMQP 0-9-1 §4.2.6.1: high bit first.
constexpr unsigned kFirstFlag = 0x8000;

class PropertiesReader {
 public:
  explicit PropertiesReader(ByteView octets) : reader_(octets), flags_(reader_.u16()) {}

  template <class... T>
  void operator()(std::optional<T>&... fields) {
    unsigned flag = kFirstFlag;
    ((flags_ & flag ? read(fields.emplace()) : void(), flag >>= 1), ...);
  }

  bool ok() const { return reader_.ok() && reader_.at_end(); }

 private:
  void read(std::uint8_t& field) { field = reader_.u8(); }

  void read(std::uint64_t& field) { field = reader_.u64(); }

  void read(std::string_view& field) { field = reader_.short_string(); }

  void read(TableView& field) {
    field.octets = reader_.long_string();
    if (!field.well_formed()) reader_.fail();
  }

  WireReader reader_;
  unsigned flags_;
};

class PropertiesWriter {
 public:
  explicit PropertiesWriter(Buffer& out) : out_(out), flags_at_(out.size()) { out.extend(2); }

  template <class... T>
  void operator()(const std::optional<T>&... fields) {
    unsigned flags = 0;
    unsigned flag = kFirstFlag;
    ((fields ? (flags |= flag, write(*fields)) : void(), flag >>= 1), ...);
    store_big_endian(static_cast<std::uint16_t>(flags), out_.data() + flags_at_);
  }

 private:
  void write(std::uint8_t field) { WireWriter(out_, 1).u8(field); }

  void write(std::uint64_t field) { WireWriter(out_, 8).u64(field); }

  void write(std::string_view field) { WireWriter(out_, 1 + field.size()).short_string(field); }

  void write(const TableView& field) {
    WireWriter(out_, 4 + field.octets.size()).long_string(field.octets);
  }

  void write(const FieldTable& field) { field.encode(out_); }

  Buffer& out_;
  std::size_t flags_at_;
};

}  // namespace

std::optional<PropertiesView> parse_properties(ByteView flags_and_fields) {
  std::optional<PropertiesView> properties(std::in_place);
  PropertiesReader reader(flags_and_fields);
  properties->fields(reader);
  if (!reader.ok()) properties.reset();
  return properties;
}

template <class String, class Table>
void PropertyFields<String, Table>::encode(Buffer& out) const {
  // fields() is not const because the reader fills it in.
  const_cast<PropertyFields*>(this)->fields(PropertiesWriter(out));
}

template struct PropertyFields<std::string_view, TableView>;
template struct PropertyFields<std::string, FieldTable>;

BasicProperties to_owned(const PropertiesView& view) {
  BasicProperties owned;
  const auto own_text = [](std::optional<std::string_view> text) {
    return text ? std::optional<std::string>(*text) : std::nullopt;
  };
  owned.content_type = own_text(view.content_type);
  owned.content_encoding = own_text(view.content_encoding);
  if (view.headers) owned.headers = view.headers->to_owned();
  owned.delivery_mode = view.delivery_mode;
  owned.priority = view.priority;
  owned.correlation_id = own_text(view.correlation_id);
  owned.reply_to = own_text(view.reply_to);
  owned.expiration = own_text(view.expiration);
  owned.message_id = own_text(view.message_id);
  owned.timestamp = view.timestamp;
  owned.type = own_text(view.type);
  owned.user_id = own_text(view.user_id);
  owned.app_id = own_text(view.app_id);
  owned.cluster_id = own_text(view.cluster_id);
  return owned;
}

namespace {

struct Rebase {
  const char* from;
  const char* to;

  template <class... T>
  void operator()(std::optional<T>&... fields) const {
    (move(fields), ...);
  }

  void move(std::optional<std::uint8_t>&) const {}

  void move(std::optional<std::uint64_t>&) const {}

  void move(std::optional<std::string_view>& text) const {
    if (text) text = ByteView(to + (text->data() - from), text->size());
  }

  void move(std::optional<TableView>& table) const {
    if (table) table->octets = ByteView(to + (table->octets.data() - from), table->octets.size());
  }
};

}  // namespace

void rebase(PropertiesView& view, const char* from, const char* to) {
  view.fields(Rebase{from, to});
}

// Changing one property: a view is parsed, altered and written again, so that nothing but the views
// is built and all other octets are copied as they are.

namespace {

template <class Edit>
Buffer edited(ByteView properties, std::size_t growth, Edit&& edit) {
  std::optional<PropertiesView> view = parse_properties(properties);
  HARRIER_CHECK(view.has_value());
  edit(*view);
  Buffer out(properties.size() + growth);
  view->encode(out);
  return out;
}

}  // namespace

Buffer with_headers(ByteView properties, const FieldTable& headers) {
  Buffer fields;
  headers.encode_fields(fields);
  return edited(properties, 4 + fields.size(),
                [&](PropertiesView& view) { view.headers = TableView{fields.view()}; });
}

Buffer with_reply_to(ByteView properties, std::string_view reply_to) {
  return edited(properties, 1 + reply_to.size(),
                [&](PropertiesView& view) { view.reply_to = reply_to; });
}

void set_mark(Buffer& properties, PropertyMark mark) {
  char& octet = properties.data()[kPropertyMarksOctet];
  octet = static_cast<char>(static_cast<std::uint8_t>(octet) | static_cast<std::uint8_t>(mark));
}

Buffer without_expiration(ByteView properties) {
  return edited(properties, 0, [](PropertiesView& view) { view.expiration.reset(); });
}

}  // namespace harrier
