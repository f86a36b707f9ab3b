"""The management API of Yandex Metrica over HTTP; nothing here knows Singer."""
