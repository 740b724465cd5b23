"""Pages for the browser: of finished runs, ``hspace-exp report``, and to feel concepts with, ``hspace-exp studio``."""
