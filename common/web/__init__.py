"""The frame of a service: what every HTTP service of this project has, whatever it does.

- `service.py`: the ASGI application; it answers the busy addresses by itself and leaves the others to FastAPI
- `call.py`: one request: its id, its body, what is logged of it
- `api.py`: FastAPI's part: documentation that needs no other host, health, metrics
- `limiter.py`, `body_limit.py`: how much is too much
- `problems.py`: every failure as RFC 9457 problem+json
- `logs.py`, `metrics.py`: what is written down
- `settings.py`: the settings that all services have

It needs `pip install '.[services]'`. `3_client_server/services/model_service.py` is the smallest example.
"""
