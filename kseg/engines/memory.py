"""Recognizes the errors with which the backends report that memory ran out."""


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error of any backend means that memory ran out."""
    text = f"{type(error).__name__} {error}".lower().replace("_", "")
    phrases = ("out of memory", "resourceexhausted", "allocate memory", "bad alloc", "badalloc")
    return isinstance(error, MemoryError) or any(phrase in text for phrase in phrases)
