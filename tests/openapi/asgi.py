from django.utils.decorators import async_only_middleware

from asyncviews.asgi import get_asgi_application

POLICY = "default-src 'self'; img-src 'self' data:"


@async_only_middleware
def content_security_policy(get_response):
    async def middleware(request):
        response = await get_response(request)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    return middleware


application = get_asgi_application()
