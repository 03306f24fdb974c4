"""Answers as endpoints give them, to the byte: those to chat, completions and responses of a small model are recorded
from `transformers serve`, the others follow OpenAI's reference; spelling and white space are as servers vary."""

from __future__ import annotations

from typing import NamedTuple

from aiohttp import web


class Answer(NamedTuple):
    """A body with its status and content type; a stream is sent in `pieces`."""

    body: bytes
    status: int = 200
    type: str = "application/json"
    pieces: int = 1


def stream(*events: str, ending: str = "\n\n") -> Answer:
    """Server-sent events, sent in pieces that end wherever they do."""
    return Answer("".join(one + ending for one in events).encode(), type="text/event-stream; charset=utf-8", pieces=9)


CHAT = Answer(
    b'{"id":"156d580b","choices":[{"finish_reason":"length","index":0,"message":{"content":"An owl is a majestic'
    b' creature","role":"assistant"}}],"created":1795782873,"model":"smol@main","object":"chat.completion",'
    b'"usage":{"completion_tokens":12,"prompt_tokens":35,"total_tokens":47}}'
)
_CHUNK = '"created":1795782873,"model":"smol@main","object":"chat.completion.chunk","system_fingerprint":""'
CHUNKS = stream(
    f'data: {{"id":"eb03","choices":[{{"delta":{{"role":"assistant"}},"index":0}}],{_CHUNK}}}',
    f'data: {{"id":"eb03","choices":[{{"delta":{{"content":"An"}},"index":0}}],{_CHUNK}}}',
    ": OPENROUTER PROCESSING",
    f'data: {{"id":"eb03","choices":[{{"delta":{{"content":" \u00fchu \U0001f989 \\ud83e\\udd89"}},"index":0}}],'
    f"{_CHUNK}}}",
    f'data: {{"id":"eb03","choices":[{{"delta":{{}},"index":0,"finish_reason":"length"}}],{_CHUNK},"usage":'
    '{"completion_tokens":3,"prompt_tokens":35,"total_tokens":38}}',
    "data: [DONE]",
)
TEXT = Answer(
    b'{"id":"b3b3","choices":[{"finish_reason":"length","index":0,"text":" a creature that"}],"created":1795782882,'
    b'"model":"smol@main","object":"text_completion","usage":{"completion_tokens":3,"prompt_tokens":3,"total_tokens":6}}'
)
_TEXT = '"created":1795782882,"model":"smol@main","object":"text_completion"'
TEXTS = stream(
    f'data:{{"id":"b3b3","choices":[{{"text":" a","index":0}}],{_TEXT}}}',
    f'data:{{"id":"b3b3","choices":[{{"text":" bird","index":0,"finish_reason":"stop"}}],{_TEXT}}}',
    "data:[DONE]",
    ending="\r\n\r\n",
)
_PARTS = '"output_index":0,"content_index":0,"item_id":"msg_4c33"'
_SAID = '{"type":"output_text","text":"An owl","annotations":[]}'
_MESSAGE = f'{{"id":"msg_4c33","type":"message","role":"assistant","status":"completed","content":[{_SAID}]}}'
_RESPONSE = (
    '"id":"resp_4c33","object":"response","created_at":1795782876.050719,"model":"smol@main","parallel_tool_calls":false,'
    '"tool_choice":"auto","tools":[],'
)
_USAGE = (
    '{"input_tokens":35,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"output_tokens":3,'
    '"output_tokens_details":{"reasoning_tokens":0},"total_tokens":38}'
)
_WHOLE = f'{{{_RESPONSE}"status":"completed","output":[{_MESSAGE}],"usage":{_USAGE},"metadata":{{"odd":"kept"}}}}'
RESPONSE = Answer(_WHOLE.encode())
EVENTS = stream(
    f'event: response.created\ndata: {{"type":"response.created","sequence_number":0,"response":{{{_RESPONSE}'
    '"status":"queued","output":[]}}',
    f'event: response.output_text.delta\ndata: {{"type":"response.output_text.delta","sequence_number":1,{_PARTS},'
    '"delta":"An","logprobs":[]}',
    f'event: response.output_text.delta\ndata: {{"type":"response.output_text.delta","sequence_number":2,{_PARTS},'
    '"delta":" owl","logprobs":[]}',
    f'event: response.completed\ndata: {{"type":"response.completed","sequence_number":3,"response":{_WHOLE}}}',
)
_CALL = '"id":"call_1","type":"function","function":{"name":"weather","arguments":'
CALLED = Answer(
    (
        '{ "id": "chatcmpl-2", "object": "chat.completion", "created": 1795782873, "model": "gpt-x",\n  "choices": ['
        ' {"index": 0, "finish_reason": "tool_calls", "logprobs": null, "message": {"role": "assistant", "content":'
        f' null, "refusal": null, "tool_calls": [{{{_CALL}"{{\\"city\\": \\"Oslo\\"}}"}}}}]}}}} ],\n  "usage": {{'
        '"prompt_tokens": 80, "completion_tokens": 15, "total_tokens": 95, "prompt_tokens_details":'
        ' {"cached_tokens": 64}} }\n'
    ).encode()
)
_CALLING = '"object":"chat.completion.chunk","created":1795782873,"model":"gpt-x","service_tier":"default"'
CALLING = stream(
    f'data: {{"id":"c2",{_CALLING},"choices":[{{"index":0,"delta":{{"role":"assistant","content":null,"tool_calls":'
    f'[{{"index":0,{_CALL}""}}}}]}},"finish_reason":null}}],"usage":null}}',
    *(
        f'data: {{"id":"c2",{_CALLING},"choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":0,"function":'
        f'{{"arguments":"{part}"}}}}]}},"finish_reason":null}}],"usage":null,"obfuscation":"aXy"}}'
        for part in ('{\\"', "city", '\\": \\"', "Oslo", '\\"}')
    ),
    f'data: {{"id":"c2",{_CALLING},"choices":[{{"index":0,"delta":{{}},"finish_reason":"tool_calls"}}],"usage":null}}',
    f'data: {{"id":"c2",{_CALLING},"choices":[],"usage":{{"prompt_tokens":80,"completion_tokens":15,'
    '"total_tokens":95}}',
    "data: [DONE]",
)
TOOLS = stream(
    'event: response.output_item.added\ndata: {"type":"response.output_item.added","sequence_number":0,'
    '"output_index":0,"item":{"type":"function_call","id":"fc_1","call_id":"call_1","name":"weather","arguments":"","status":'
    '"in_progress"}}',
    'event: response.function_call_arguments.delta\ndata: {"type":"response.function_call_arguments.delta",'
    '"sequence_number":1,"item_id":"fc_1","output_index":0,"delta":"{\\"city\\":"}',
    'event: response.function_call_arguments.done\ndata: {"type":"response.function_call_arguments.done",'
    '"sequence_number":2,"item_id":"fc_1","output_index":0,"name":"weather","arguments":"{\\"city\\":\\"Oslo\\"}"}',
)
FORM = Answer(
    b'{"id":"chatcmpl-3","object":"chat.completion","created":1,"model":"gpt-x","choices":[{"index":0,"finish_reason":'
    b'"stop","message":{"role":"assistant","content":"{\\"city\\": \\"Oslo\\"}"},"logprobs":{"content":[{"token":"{",'
    b'"bytes":[123],"logprob":-0.1250000000000000001,"top_logprobs":[{"token":"{","bytes":[123],"logprob":-1.25e-1}]}]}},'
    b'{"index":1,"finish_reason":"stop","message":{"role":"assistant","content":"{}"}}],"usage":{"prompt_tokens":1,'
    b'"completion_tokens":2,"total_tokens":3}}'
)
VECTOR = Answer(
    b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.10,-2e-3]}],"model":"e","usage":'
    b'{"prompt_tokens":3,"total_tokens":3}}'
)
MODELS = Answer(b'{"object":"list","data":[{"id":"smol@main","object":"model","created":0,"owned_by":"me"}]}')
UNFIT = Answer(b'{"detail":[{"type":"greater_than","loc":["body","max_tokens"],"msg":"must be above 0"}]}', 422)
MISSING = Answer(
    b'{"error":{"message":"no model none/there","type":"invalid_request_error","param":null,"code":null}}', 404
)
FULL = Answer(
    b'{"error":{"message":"Rate limit reached","type":"tokens","param":null,"code":"rate_limit_exceeded"}}', 429
)

ANSWERS = {
    "chat": CHAT,
    "chat, streamed": CHUNKS,
    "chat, a conversation": CHAT,
    "chat, parts": CHAT,
    "completion": TEXT,
    "completion, streamed": TEXTS,
    "response": RESPONSE,
    "response, streamed": EVENTS,
    "response, a conversation": RESPONSE,
    "a fault": UNFIT,
    "no such model": MISSING,
    "models": MODELS,
    "tools": CALLED,
    "tools, streamed": CALLING,
    "what a tool said": CHAT,
    "an image": CHAT,
    "a form": FORM,
    "completion, several": TEXT,
    "response, tools": TOOLS,
    "response, what a tool said": RESPONSE,
    "response, going on": RESPONSE,
    "response, an image": RESPONSE,
    "embeddings": VECTOR,
    "too many": FULL,
}


async def replays(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    """An upstream that answers what was recorded for the call that the request names."""
    told = ANSWERS[request.headers["x-call"]]
    response = web.StreamResponse(status=told.status, headers={"Content-Type": told.type, "x-request-id": "r1"})
    if told.pieces == 1:
        response.content_length = len(told.body)
    await response.prepare(request)
    size = -(-len(told.body) // told.pieces)
    for at in range(0, len(told.body), size):
        await response.write(told.body[at : at + size])
    return response
