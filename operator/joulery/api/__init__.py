"""The API group joulery.dev: objects as pydantic models, CRDs made from them, and conversion to the
domain.
"""
