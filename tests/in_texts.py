"""Scripted models, rewards and judges that speak in texts, where prompts and responses flow."""

from functools import wraps


def in_texts(method):
    """The method, given the text of each prompt and of each response."""

    @wraps(method)
    def called(self, *lists, **named):
        return method(self, *(_texts(given) for given in lists), **named)

    return called


def _texts(given):
    return [getattr(item, "text", item) for item in given] if isinstance(given, (list, tuple)) else given
