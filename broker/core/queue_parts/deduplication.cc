#include "broker/core/queue_parts/deduplication.h"

#include <openssl/evp.h>

#include <algorithm>
#include <string>

#include "base/assert.h"
#include "protocol/properties.h"

namespace harrier {
namespace {

// Half of a SHA-256: nobody finds two messages that differ and share it, so no job is lost to
// another.
DeduplicationKey digest(char type, std::string_view octets) {
  std::array<unsigned char, 32> whole{};
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  const bool done = context != nullptr && EVP_DigestInit_ex(context, EVP_sha256(), nullptr) == 1 &&
                    EVP_DigestUpdate(context, &type, 1) == 1 &&
                    EVP_DigestUpdate(context, octets.data(), octets.size()) == 1 &&
                    EVP_DigestFinal_ex(context, whole.data(), nullptr) == 1;
  EVP_MD_CTX_free(context);
  HARRIER_CHECK(done);
  DeduplicationKey key;
  std::copy_n(whole.begin(), key.size(), key.begin());
  return key;
}

bool is_scalar(FieldType type) {
  return type != FieldType::table && type != FieldType::array && type != FieldType::nothing;
}

std::optional<DeduplicationKey> header_key(const PropertiesView& properties,
                                           std::string_view name) {
  if (!properties.headers) return std::nullopt;
  const std::optional<ValueView> value = properties.headers->find(name);
  if (!value || !is_scalar(value->type)) return std::nullopt;
  const FieldType type = value->type == FieldType::int64_alias ? FieldType::int64 : value->type;
  return digest(static_cast<char>(type), value->octets);
}

}  // namespace

std::optional<DeduplicationKey> Deduplication::key_of(const Message& message) const {
  if (settings_.source == DeduplicationSource::body) return digest('\0', message.body());
  const std::optional<PropertiesView> properties = parse_properties(message.properties());
  if (!properties) return std::nullopt;
  if (settings_.source == DeduplicationSource::header) {
    return header_key(*properties, settings_.header);
  }
  if (!properties->message_id) return std::nullopt;
  return digest(static_cast<char>(FieldType::long_string), *properties->message_id);
}

void Deduplication::apply(const DeduplicationSettings& settings, Timestamp now) {
  const bool is_other = settings.source != settings_.source ||
                        settings.header != settings_.header || settings.scope != settings_.scope ||
                        settings.action != settings_.action;
  if (is_other) {
    forget_all();
    reserved_.clear();
  }
  settings_ = settings;
  fingerprint_ = fingerprint_of(settings);
  trim(now);
}

std::uint32_t Deduplication::fingerprint_of(const DeduplicationSettings& settings) {
  const std::string octets{static_cast<char>(settings.source), static_cast<char>(settings.scope),
                           static_cast<char>(settings.action)};
  const DeduplicationKey whole = digest('s', octets + settings.header);
  std::uint32_t fingerprint = 0;
  for (std::size_t i = 0; i < sizeof(fingerprint); ++i)
    fingerprint = fingerprint << 8 | whole.at(i);
  return fingerprint;
}

const Deduplication::Holder* Deduplication::find(const DeduplicationKey& key, Timestamp now) {
  trim(now);
  const auto found = holders_.find(key);
  return found == holders_.end() ? nullptr : &found->second.holder;
}

void Deduplication::remember(const DeduplicationKey& key, const Holder& holder, Timestamp now) {
  const auto known = holders_.find(key);
  const bool had_record = known != holders_.end() && known->second.holder.recorded;
  if (known != holders_.end()) {
    order_.erase(order_of(key, known->second));
    of_message_.erase(known->second.holder.id);
    holders_.erase(known);
  }
  if (holder.recorded) {
    record(key, {holder, now});
  } else if (had_record) {
    batch_.delete_record(key_record_key(*queue_, key));
  }
  add(key, {holder, now});
  trim(now);
}

void Deduplication::carry(const DeduplicationKey& key, Sequence from, const Holder& holder,
                          Timestamp now) {
  const auto known = holders_.find(key);
  if (known == holders_.end()) {
    if (ends_with_message()) remember(key, holder, now);
    return;
  }
  const Kept& kept = known->second;
  if (knows_messages() && kept.holder.id != 0 && kept.holder.id != from) return;
  remember(key, holder, kept.since);
}

bool Deduplication::release(const DeduplicationKey& key) {
  return reserved_.erase(key) > 0;
}

void Deduplication::forget_all() {
  while (!order_.empty())
    forget(order_.begin());
}

void Deduplication::recover(const KeyRecord& record) {
  if (record.settings != fingerprint_) {
    // A crash came between a policy's change and what it makes a queue forget.
    return batch_.delete_record(key_record_key(record.queue, record.key));
  }
  const Holder holder{record.id, record.id, record.body_bytes, true, true, record.expires_at};
  add(record.key, {holder, record.since});
}

void Deduplication::recovered(Sequence begin, Sequence end, Sequence first, Sequence next) {
  end_range(begin, first);
  end_range(next, end);
}

void Deduplication::record(const DeduplicationKey& key, const Kept& kept) {
  const Holder& holder = kept.holder;
  const Sequence id = knows_messages() && holder.id == 0 ? 0 : holder.stored_id;
  batch_.put_record(key_record_key(*queue_, key),
                    key_record({*queue_, key, id, kept.since, holder.body_bytes, fingerprint_,
                                holder.expires_at}));
}

Deduplication::Order Deduplication::order_of(const DeduplicationKey& key, const Kept& kept) const {
  return {kept.since.time_since_epoch().count(), kept.holder.stored_id, key};
}

void Deduplication::add(const DeduplicationKey& key, const Kept& kept) {
  holders_[key] = kept;
  order_.insert(order_of(key, kept));
  if (knows_messages() && kept.holder.id != 0) of_message_[kept.holder.id] = key;
}

void Deduplication::forget(std::set<Order>::iterator place) {
  const DeduplicationKey& key = std::get<DeduplicationKey>(*place);
  const auto kept = holders_.find(key);
  if (kept->second.holder.recorded) batch_.delete_record(key_record_key(*queue_, key));
  of_message_.erase(kept->second.holder.id);
  holders_.erase(kept);
  order_.erase(place);
}

void Deduplication::end_range(Sequence begin, Sequence end) {
  auto place = of_message_.lower_bound(begin);
  while (place != of_message_.end() && place->first < end) {
    const DeduplicationKey key = place->second;
    ++place;
    Kept& kept = holders_.at(key);
    if (ends_with_message()) {
      forget(order_.find(order_of(key, kept)));
      continue;
    }
    of_message_.erase(kept.holder.id);
    kept.holder.id = 0;
    if (kept.holder.recorded) record(key, kept);
  }
}

void Deduplication::trim(Timestamp now) {
  if (ends_with_message()) return;
  while (holders_.size() > settings_.cache_size)
    forget(order_.begin());
  if (!settings_.cache_ttl) return;
  const std::int64_t oldest = (now - *settings_.cache_ttl).time_since_epoch().count();
  while (!order_.empty() && std::get<0>(*order_.begin()) <= oldest)
    forget(order_.begin());
}

}  // namespace harrier
