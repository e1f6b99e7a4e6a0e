"""The world outside the miniature: every request that a real host would send ends here, is written down and answered.

calls      what was asked, in order: {"service", "verb", **arguments}
answers    "service.verb" -> the answer, or a function of the arguments; an exception is raised; nothing: no network
"""

calls = []
answers = {}


def ask(service, verb, **arguments):
    calls.append({"service": service, "verb": verb, **arguments})
    answer = answers.get(f"{service}.{verb}", ConnectionError(f"no network for {service}.{verb}"))
    if callable(answer) and not isinstance(answer, Exception):
        answer = answer(**arguments)
    if isinstance(answer, Exception):
        raise answer
    return answer


def asked(verb):
    return [call for call in calls if call["verb"] == verb]
