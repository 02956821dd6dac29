internal import NIOCore
internal import NIOHTTP1

/// What a connection may cost.
struct ConnectionLimits: Sendable {
  /// Connections at once; those beyond are closed.
  var connections = 128
  /// Bytes of a request's body, which is thrown away.
  var bodyBytes = 64 << 10
  /// Bytes that are taken before a request is whole, body included.
  var requestBytes = 512 << 10
  var headerBytes = 32 << 10
  var headerFields = 64
  /// How long a request may take to come, and how long none may come.
  var requestTime = TimeAmount.seconds(30)
  /// How long an answer may take: to be made, and to be taken by the client.
  var answerTime = TimeAmount.seconds(60)
}

/// Closes a connection whose client sends too much before a request is whole. Stands ahead of the decoder.
final class RequestSizeBound: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  private let limit: Int
  private var count = 0

  init(limit: Int) { self.limit = limit }

  func requestIsWhole() { count = 0 }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    count += unwrapInboundIn(data).readableBytes
    guard count <= limit else { return context.close(promise: nil) }
    context.fireChannelRead(data)
  }
}

/// Closes a connection whose client takes too long: to send a request, or to take its answer. Stands behind the decoder.
final class ConnectionTimer: ChannelDuplexHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundIn = HTTPServerResponsePart
  private let limits: ConnectionLimits
  private let size: RequestSizeBound
  private var timer: Scheduled<Void>?

  init(_ limits: ConnectionLimits, size: RequestSizeBound) {
    self.limits = limits
    self.size = size
  }

  func handlerAdded(context: ChannelHandlerContext) { restart(limits.requestTime, context) }
  func handlerRemoved(context: ChannelHandlerContext) { timer?.cancel() }

  func channelInactive(context: ChannelHandlerContext) {
    timer?.cancel()
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if case .end = unwrapInboundIn(data) {
      size.requestIsWhole()
      restart(limits.answerTime, context)
    }
    context.fireChannelRead(data)
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    guard case .end = unwrapOutboundIn(data) else { return context.write(data, promise: promise) }
    let promise = promise ?? context.eventLoop.makePromise()
    let (timer, context) = (
      NIOLoopBound(self, eventLoop: context.eventLoop), NIOLoopBound(context, eventLoop: context.eventLoop)
    )
    promise.futureResult.whenSuccess { timer.value.restart(timer.value.limits.requestTime, context.value) }
    context.value.write(data, promise: promise)
  }

  /// What is no request was answered by now, ahead of us.
  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    context.fireErrorCaught(error)
    context.close(promise: nil)
  }

  private func restart(_ time: TimeAmount, _ context: ChannelHandlerContext) {
    timer?.cancel()
    let channel = context.channel
    timer = context.eventLoop.scheduleTask(in: time) { channel.close(promise: nil) }
  }
}
