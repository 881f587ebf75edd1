"""The REST API, `/api/v1`: one module a noun. It decides nothing; what may be seen and done is asked of `sites`."""

from insitu.api import checkpoints, document, experiments, health, metrics, notices, people, protocols, qualifications, sites

_NOUNS = tuple(noun.router for noun in (experiments, checkpoints, protocols, sites, people, qualifications, notices, health, metrics))
ROUTERS = (*_NOUNS, document.serving(_NOUNS))
