#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "broker/core/consumer.h"
#include "broker/core/queue_handle.h"
#include "broker/runtime/subscriptions.h"
#include "broker/session/connection.h"
#include "broker/session/publisher_confirms.h"
#include "broker/session/unacked_tags.h"
#include "protocol/content_assembler.h"
#include "protocol/methods.h"
#include "protocol/reply_code.h"

namespace harrier {

class ChannelConsumer;
class Join;
struct ReplyConsumer;
struct Transaction;

// One channel of a connection: its mode, its consumers, what it has unacknowledged and unconfirmed.
// The methods are free functions on(Channel&, const Method&) in methods/.
class Channel {
 public:
  Channel(Connection& connection, ChannelNumber number);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // A METHOD, HEADER or BODY frame of this channel.
  void on_frame(const Frame& frame);

  ChannelNumber number() const { return number_; }

  ChannelId id() const { return id_; }

  Connection& connection() { return connection_; }

  Shard& shard() { return connection_.shard(); }

  VirtualHost& vhost() { return connection_.vhost(); }

  Subscriptions& subscriptions() { return shard().subscriptions(); }

  // --- answers
  template <class M>
  void send(const M& method) {
    connection_.send(number_, method);
  }
  // A content method with its header and body.
  template <class M>
  void send_content(const M& method, const MessageRef& message);
  // basic.deliver or get-ok, of which all is set but what the message says itself.
  template <class M>
  void send_delivery(M& method, const Delivery& delivery);

  // For an operation that has to wait: nothing more of the connection is handled until resume(),
  // and meanwhile neither it nor the channel goes away, whatever happens to the socket.
  void pause() { connection_.pause(); }

  // Ends the pause with the operation's result: an error closes the channel or connection, blaming
  // `method`.
  void resume(const Result<void, ProtocolError>& result, MethodId method);

  // --- closing
  // Cancels the consumers, gives back the unacknowledged, drops the uncommitted.
  void release(Task done);
  // This side ends the channel (CLOSE), after release().
  void fail(const ProtocolError& error, MethodId method);
  // The client's channel.close.
  void close_asked();

  bool closing() const { return closing_; }

  // --- access
  // ACCESS_REFUSED unless the user may. `resource_kind` is "queue" or "exchange".
  Result<void, ProtocolError> require(Permission permission, std::string_view resource_kind,
                                      std::string_view name);
  // Any of the three permissions: what a passive declare takes.
  Result<void, ProtocolError> require_any(std::string_view resource_kind, std::string_view name);
  // Write access to an exchange; the answer for the one last asked for is remembered.
  Result<void, ProtocolError> require_write(std::string_view exchange);

  // --- names
  const std::string& last_declared_queue() const { return last_declared_queue_; }

  void set_last_declared_queue(std::string name) { last_declared_queue_ = std::move(name); }

  // --- consuming
  struct Prefetch {
    std::uint32_t for_new_consumers = 0;
    std::uint32_t global = 0;  // over the channel, 0 = none
    std::uint32_t global_used = 0;
  };

  Prefetch& prefetch() { return prefetch_; }

  bool global_limit_reached() const {
    return prefetch_.global != 0 && prefetch_.global_used >= prefetch_.global;
  }

  UnackedTags& unacked() { return unacked_; }

  std::unordered_map<std::string, std::unique_ptr<ChannelConsumer>>& consumers() {
    return consumers_;
  }

  // Takes a delivery that has to be acknowledged; returns its tag.
  std::uint64_t await_ack(UnackedDelivery delivery);
  // The error of a channel whose client left a delivery unacknowledged for too long.
  std::optional<ProtocolError> overdue(Timestamp now);
  // Settles deliveries whose tags are known; then hands out what became ready.
  void settle(std::uint64_t first_tag, std::uint64_t last_tag, Settlement how);
  void resume_consumers();
  // Delivery tag of a delivery that needs no ack.
  std::uint64_t use_up_tag();

  // --- publishing
  std::optional<PublisherConfirms>& confirms() { return confirms_; }

  std::unique_ptr<Transaction>& transaction() { return transaction_; }

  std::unique_ptr<ReplyConsumer>& reply_consumer() { return reply_consumer_; }

  // A publish whose messages of this turn are stored is confirmed once they are durable.
  void confirm_when_durable();
  // Another shard has done its part of publish `number`, or of the commit under way.
  void share_done(std::uint64_t number, Verdict verdict = Verdict::taken);
  static constexpr std::uint64_t kCommitShare = UINT64_MAX;
  void send_confirms();

 private:
  template <class M>
  void send_content(const M& method, const MessageRef& message, ByteView properties);
  void on_method(ByteView payload);
  void on_content_frame(const Frame& frame);
  void return_unacked(Join& returned);
  Milliseconds consumer_timeout(const QueueHandle& queue);
  void settle_one(std::uint64_t tag, UnackedDelivery& delivery, Settlement how);

  Connection& connection_;
  const ChannelNumber number_;
  bool closing_ = false;  // our close is sent: only close-ok counts
  const ChannelId id_;
  ContentAssembler assembler_;
  std::string last_declared_queue_;
  Prefetch prefetch_;
  UnackedTags unacked_;
  Timestamp next_overdue_ = Timestamp::max();  // nothing is overdue before
  std::unordered_map<std::string, std::unique_ptr<ChannelConsumer>> consumers_;
  std::optional<PublisherConfirms> confirms_;
  Ticket confirms_registered_ = 0;
  std::unique_ptr<Transaction> transaction_;
  std::unique_ptr<ReplyConsumer> reply_consumer_;

  // The exchange the user was last found to have write access to, and as of which revision of the
  // access rules.
  std::string writable_exchange_;
  std::uint64_t writable_revision_ = 0;
  bool writable_known_ = false;
};

}  // namespace harrier
