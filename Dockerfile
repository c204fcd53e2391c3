# The app for the public, as docs/serve.md describes it. Build and run:
#   docker build -t vjepa-explorer .
#   docker run --read-only --tmpfs /scratch:uid=1000 -p 8501:8501 --memory 8g vjepa-explorer
FROM python:3.11-slim

RUN useradd --uid 1000 --create-home explorer
WORKDIR /srv/explorer

# libraries first: they change rarely
COPY requirements.txt requirements.lock pyproject.toml README.md LICENSE ./
RUN pip install --no-cache-dir -r requirements.lock

COPY .streamlit .streamlit
COPY assets assets
COPY vjepa vjepa
COPY decoder decoder
COPY app app
RUN python -m compileall -q vjepa decoder app

# all that is written: uploads while they are decoded, caches of libraries, downloaded models
ENV HOME=/scratch TMPDIR=/scratch XDG_CACHE_HOME=/scratch/cache MPLCONFIGDIR=/scratch/matplotlib \
    NUMBA_CACHE_DIR=/scratch/numba VJEPA_MODELS=/scratch/models \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
VOLUME /scratch
USER 1000

EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
ENTRYPOINT ["python", "-m", "app.serve"]
