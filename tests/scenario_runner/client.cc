#include "tests/scenario_runner/client.h"

#include <utility>

#include "protocol/byte_order.h"
#include "protocol/frame.h"
#include "tests/scenario_runner/value_text.h"

namespace harrier::scenario {

std::string Received::to_text() const {
  std::string text = name + " on channel " + std::to_string(channel);
  if (!fields.empty()) text += " " + to_language(fields);
  if (!properties.empty()) text += " properties " + to_language(properties);
  if (!properties_octets.empty()) {
    text += " body ";
    text += body.size() <= 200 ? to_language(Value::long_string(body))
                               : "of " + std::to_string(body.size()) + " octets";
  }
  return text;
}

Client::Client(Backend& backend, std::unique_ptr<Wire> wire)
    : backend_(backend), wire_(std::move(wire)) {}

void Client::receive(Milliseconds patience) {
  wire_->receive(arrived_, patience);
  parse();
}

void Client::parse() {
  if (header_possible_ && arrived_.size() >= 4) {
    header_possible_ = false;
    if (arrived_.view().starts_with("AMQP")) {
      Received header;
      header.name = "protocol-header";
      header.octets = arrived_.view().substr(0, 8);
      arrived_.consume(header.octets.size());
      inbox_.push_back(std::move(header));
    }
  }
  std::size_t consumed = 0;
  for (;;) {
    const ByteView rest = arrived_.view().substr(consumed);
    const FrameParse frame = parse_frame(rest, 0);
    if (frame.status == FrameStatus::need_more) break;
    if (frame.status == FrameStatus::error) {
      Received garbage;
      garbage.name = "unknown";
      garbage.octets = rest;
      inbox_.push_back(std::move(garbage));
      consumed = arrived_.size();
      break;
    }
    take_frame(rest.substr(0, frame.consumed));
    consumed += frame.consumed;
  }
  arrived_.consume(consumed);
}

void Client::take_frame(ByteView octets) {
  const Frame frame = parse_frame(octets, 0).frame;
  Received received;
  received.channel = frame.channel;
  auto incomplete = incomplete_.extract(frame.channel);
  if (incomplete && frame.type != FrameType::method) received = std::move(incomplete.mapped());
  received.octets += octets;
  bool complete = true;
  switch (frame.type) {
    case FrameType::heartbeat:
      received.name = "heartbeat";
      break;
    case FrameType::method: {
      std::optional<NamedMethod> method = decode_named(frame.payload);
      received.name = method ? method->name : "unknown";
      if (method) received.fields = std::move(method->fields);
      complete = !method || !method->has_content;
      missing_[frame.channel] = 0;
      break;
    }
    case FrameType::header:
      missing_[frame.channel] = load_big_endian<std::uint64_t>(frame.payload.data() + 4);
      received.properties_octets = frame.payload.substr(kContentHeaderBytes);
      received.properties = decode_properties(received.properties_octets).value_or(FieldTable());
      complete = missing_[frame.channel] == 0;
      break;
    case FrameType::body:
      received.body += frame.payload;
      received.body_frames.push_back(frame.payload.size());
      missing_[frame.channel] -=
          std::min<std::uint64_t>(frame.payload.size(), missing_[frame.channel]);
      complete = missing_[frame.channel] == 0;
      break;
  }
  if (received.name.empty()) received.name = "unknown";
  if (complete) {
    inbox_.push_back(std::move(received));
  } else {
    incomplete_[frame.channel] = std::move(received);
  }
}

}  // namespace harrier::scenario
